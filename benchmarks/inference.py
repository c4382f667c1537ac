"""Times predictions: our exported ops against the runtimes that a user can pick.

    # goes on where it was stopped; an hour in one thread
    python -m benchmarks.inference --networks ResNet50 VGG16 MLP

Contenders: the dense network in TensorFlow, with XLA, and in ONNX Runtime, LiteRT (XNNPACK) and
OpenVINO where they are installed, all in float32; and ours, as ``ks.export(custom_ops=True)`` has
written it. All run in one process, in turns.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import inference_contenders, options, records, report, turns
from benchmarks.inference_contenders import DENSE, DENSITIES, NETWORKS

COMMAND = "python -m benchmarks.inference"
BATCHES = (1, 8, 64)
SECONDS = 25.0  # of turns, of one cell
LEAST_TURNS, MOST_TURNS = 3, 9
NOTE = """\
Milliseconds of a prediction, medians over turns. One thread is measured in CPU time, two threads in
wall time. Ours is the SavedModel of `ks.export(custom_ops=True)` of the same network at a density
of {densities} in each masked kernel. `best / ours` is the time of the fastest dense contender over
ours; `TensorFlow / ours` is that of dense TensorFlow. Dense kernels hold no zeros. All compute in
float32. Networks of keras.applications take images of 224x224, WRN-16-8 of 32x32, the ViT of 96x96;
the MLP is 1024-4096-4096-1000.
"""


def main() -> None:
    """Measures what is missing and writes the table."""
    arguments = _arguments()
    turns.limit_threads(arguments.threads)
    known = {_key(cell) for cell in records.read(arguments.cells)}
    for name in arguments.networks:
        for batch in arguments.batches:
            if (name, batch, arguments.threads) not in known:
                inference_contenders.write_files(name, arguments.files / name)
                cell = measure(name, arguments.files / name, batch, arguments.threads)
                records.add(arguments.cells, cell)
                print(_row(cell), flush=True)
    cells = records.finished(arguments.cells)
    report.write(arguments.output, page(cells))


def measure(name: str, folder: Path, batch: int, threads: int) -> dict[str, Any]:
    """A record: seconds of each contender, turn by turn."""
    contenders = inference_contenders.contenders(name, folder, batch, threads)
    for contender in contenders.values():
        for _ in range(3):  # from the third call on, our ops read no kernel
            contender()
    clock, begin = turns.clock_for(threads), time.process_time()
    seconds = turns.take_turns(contenders, 1, clock)
    while len(seconds["XLA"]) < LEAST_TURNS or (
        len(seconds["XLA"]) < MOST_TURNS and time.process_time() - begin < SECONDS
    ):
        for contender, more in turns.take_turns(contenders, 1, clock).items():
            seconds[contender] += more
    missing = inference_contenders.missing()
    key = {"network": name, "batch": batch, "threads": threads, "missing": missing}
    return {**key, "seconds": seconds}


def page(cells: list[dict[str, Any]]) -> str:
    """The file of results."""
    text = report.header("Predictions of exported models", COMMAND, cells[-1]["measured"])
    text += NOTE.format(densities=" or ".join(map(str, DENSITIES)))
    missing = sorted({name for cell in cells for name in cell["missing"]})
    if missing:
        text += f"\nNot installed, and not measured: {', '.join(missing)}.\n"
    order = [(name, batch) for name in NETWORKS for batch in BATCHES]
    for threads in sorted({cell["threads"] for cell in cells}):
        own = [cell for cell in cells if cell["threads"] == threads]
        own.sort(key=lambda cell: order.index((cell["network"], cell["batch"])))
        ratios = (f"{what} / ours {density}" for density in DENSITIES for what in ("best", "TF"))
        columns = ("network", "batch", *DENSE, *(f"ours {d}" for d in DENSITIES), *ratios)
        count = "one thread" if threads == 1 else f"{threads} threads"
        text += f"\n## In {count}\n\n{report.table(columns, [_row(cell) for cell in own])}"
    return text


def _row(cell: dict[str, Any]) -> tuple[object, ...]:
    seconds = cell["seconds"]
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    best = min((name for name in DENSE if name in medians), key=medians.__getitem__)
    ours = [f"ours {density}" for density in DENSITIES]
    times = (f"{1e3 * medians[n]:.2f}" if n in medians else "" for n in (*DENSE, *ours))
    ratios = (
        turns.ratio(seconds[of], seconds[name]) for name in ours for of in (best, "TensorFlow")
    )
    return cell["network"], cell["batch"], *times, *(f"{ratio:.2f}" for ratio in ratios)


def _key(cell: dict[str, Any]) -> tuple[str, int, int]:
    return cell["network"], cell["batch"], cell["threads"]


def _arguments() -> argparse.Namespace:
    form = options.parser_of_cells(__doc__, "inference")
    form.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    form.add_argument("--batches", nargs="+", type=int, choices=BATCHES, default=BATCHES)
    form.add_argument("--threads", type=int, default=1)
    files = Path(tempfile.gettempdir(), "keras_sparse_inference")
    form.add_argument("--files", type=Path, default=files, help="exported files; several GB")
    return form.parse_args()


if __name__ == "__main__":
    main()
