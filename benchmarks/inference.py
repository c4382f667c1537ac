"""Times predictions: our exported ops against the runtimes that a user can pick.

    # goes on where it was stopped; an hour in one thread
    python -m benchmarks.inference --networks ResNet50 VGG16 MLP
    python -m benchmarks.inference --tables   # measures nothing, writes the page

Contenders: the dense network in TensorFlow, with XLA, and in ONNX Runtime, LiteRT (XNNPACK) and
OpenVINO where they are installed, all in float32; and ours, as ``ks.export(custom_ops=True)`` has
written it. All run in one process, in turns. A cell is measured once on each machine.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import inference_contenders, options, records, report, turns
from benchmarks.inference_contenders import DENSE, DENSITIES, NETWORKS
from benchmarks.machine import machine

COMMAND = "python -m benchmarks.inference"
BATCHES = (1, 8, 64)
SECONDS = 25.0  # of turns, of one cell
LEAST_TURNS, MOST_TURNS = 3, 9
MOST_DIFFERENCE = 1e-4  # of the largest output: sums in bfloat16 differ by more than ten times this
RATIOS = (f"{what} / ours {density}" for density in DENSITIES for what in ("best", "TF"))
COLUMNS = (
    *("network", "batch", *DENSE, *(f"ours {density}" for density in DENSITIES)),
    *(*RATIOS, "difference"),
)
NOTE = """\
Milliseconds of a prediction, medians over turns. One thread is measured in CPU time, two threads in
wall time. Ours is the SavedModel of `ks.export(custom_ops=True)` of the same network at a density
of {densities} in each masked kernel. `best / ours` is the time of the fastest dense contender over
ours; `TF / ours` is that of dense TensorFlow. Dense kernels hold no zeros. Networks of
keras.applications take images of 224x224, WRN-16-8 of 32x32, the ViT of 96x96; the MLP is
1024-4096-4096-1000.

All compute in float32. `difference` says how far the outputs of any dense contender are from those
of TensorFlow, as a share of the largest output. Above {most:g} a cell is not measured: so far apart
are runtimes of which one computes in 16 bits.
"""


def main() -> None:
    """Measures what is missing and writes the table."""
    arguments = _arguments()
    if not arguments.tables:
        _measure_missing(arguments)
    report.write(arguments.output, page(records.finished(arguments.cells)))


def _measure_missing(arguments: argparse.Namespace) -> None:
    turns.limit_threads(arguments.threads)
    known, here = {_key(cell) for cell in records.read(arguments.cells)}, machine()
    for name in arguments.networks:
        for batch in arguments.batches:
            if (name, batch, arguments.threads, here) not in known:
                inference_contenders.write_files(name, arguments.files / name)
                cell = measure(name, arguments.files / name, batch, arguments.threads)
                records.add(arguments.cells, cell)
                print(_row(cell), flush=True)


def measure(name: str, folder: Path, batch: int, threads: int) -> dict[str, Any]:
    """A record: seconds of each contender, turn by turn."""
    contenders = inference_contenders.contenders(name, folder, batch, threads)
    difference = largest_difference({name: contender() for name, contender in contenders.items()})
    if difference > MOST_DIFFERENCE:
        raise SystemExit(
            f"The dense contenders must agree up to {MOST_DIFFERENCE}. Received: a difference of "
            f"{difference:.1e} for {name} at batch {batch}. One of them computes in 16 bits."
        )
    clock = turns.clock_for(threads)
    begin = clock()
    for _ in range(2):  # from the third call on, our ops read no kernel
        for contender in contenders.values():
            contender()
    count = round(SECONDS / max((clock() - begin) / 2, turns.LEAST_TURN))
    count = min(max(count, LEAST_TURNS), MOST_TURNS)
    seconds = turns.take_turns(contenders, count, clock)
    missing = inference_contenders.missing()
    key = {"network": name, "batch": batch, "threads": threads, "missing": missing}
    return {**key, "difference": difference, "seconds": seconds}


def largest_difference(outputs: dict[str, Any]) -> float:
    """Of dense contenders from TensorFlow, as a share of its largest output.

    >>> largest_difference({"TensorFlow": [2.0, -4.0], "XLA": [2.0, -3.0], "ours 0.1": [9.0, 9.0]})
    0.25
    """
    expected = np.asarray(outputs["TensorFlow"], "float64")
    others = [np.asarray(outputs[name]) for name in DENSE if name in outputs]
    return float(max(np.abs(one - expected).max() for one in others) / np.abs(expected).max())


def page(cells: list[dict[str, Any]]) -> str:
    """The file of results."""
    text = report.header("Predictions of exported models", COMMAND, records.circumstances(cells))
    text += NOTE.format(densities=" or ".join(map(str, DENSITIES)), most=MOST_DIFFERENCE)
    for threads, where in sorted({_key(cell)[2:] for cell in cells}):
        own = [cell for cell in cells if _key(cell)[2:] == (threads, where)]
        own.sort(key=lambda cell: (NETWORKS.index(cell["network"]), cell["batch"]))
        count = "one thread" if threads == 1 else f"{threads} threads"
        text += f"\n## In {count}: {where}\n\n{report.table(COLUMNS, [_row(c) for c in own])}"
        missing = sorted({name for cell in own for name in cell["missing"]})
        if missing:
            text += f"\nNot installed, and not measured: {', '.join(missing)}.\n"
        text += _remarks(own)
    return text


def _remarks(cells: list[dict[str, Any]]) -> str:
    """What the records say about some of the cells alone."""
    said: dict[str, list[str]] = {}
    for cell in cells:
        if "remark" in cell:
            said.setdefault(cell["remark"], []).append(f"{cell['network']} at {cell['batch']}")
    return "".join(f"\n{', '.join(of)}:\n{remark}.\n" for remark, of in said.items())


def _row(cell: dict[str, Any]) -> tuple[object, ...]:
    seconds = cell["seconds"]
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    best = min((name for name in DENSE if name in medians), key=medians.__getitem__)
    ours = [f"ours {density}" for density in DENSITIES]
    times = (f"{1e3 * medians[n]:.2f}" if n in medians else "" for n in (*DENSE, *ours))
    ratios = (
        turns.ratio(seconds[of], seconds[name]) for name in ours for of in (best, "TensorFlow")
    )
    difference = f"{cell['difference']:.0e}" if "difference" in cell else ""
    ends = (*(f"{ratio:.2f}" for ratio in ratios), difference)
    return cell["network"], cell["batch"], *times, *ends


def _key(cell: dict[str, Any]) -> tuple[str, int, int, str]:
    return cell["network"], cell["batch"], cell["threads"], cell["measured"]["machine"]


def _arguments() -> argparse.Namespace:
    form = options.parser_of_cells(__doc__, "inference")
    form.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    form.add_argument("--batches", nargs="+", type=int, choices=BATCHES, default=BATCHES)
    form.add_argument("--threads", type=int, default=1)
    form.add_argument("--tables", action="store_true", help="measure nothing, write the page")
    files = Path(tempfile.gettempdir(), "keras_sparse_inference")
    form.add_argument("--files", type=Path, default=files, help="exported files; several GB")
    return form.parse_args()


if __name__ == "__main__":
    main()
