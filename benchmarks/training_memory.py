"""Measures what a training step holds in memory, dense and sparse: weights, momenta, masks, rest.

    python -m benchmarks.training_memory

Each training runs in a process of its own. Each that was measured is a line of a ``.jsonl`` file
beside the table, and is not repeated.
"""

import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import options, records, report
from benchmarks.processes import in_process
from benchmarks.records import Record

COMMAND = "python -m benchmarks.training_memory"
BATCHES = {"MLP-4096": 128, "ViT": 128, "WRN-16-8": 64}
DENSITY = 0.05
STEPS = 2
NOTE = f"""\
MB that a step of `fit` takes, with SGD and a momentum, in float32, in one thread; sparse at a
density of {DENSITY}. *Peak* is the most that the process held within {STEPS} steps, less what it
held before the model was built. *Weights*, *momenta* and *masks* are the bytes of all variables of
the model and its optimizer. *Rest* is the peak less these: gradients, outputs of layers, the ops'
lists of active weights, and buffers. *Closed* is a step that computes gradients of active weights
alone, *open* one that computes those of all weights. *Share* is that of the dense peak.

MLP-4096 is 3072-4096-4096-10. The ViT has two blocks, 128 wide. Batches:
{", ".join(f"{batch} ({name})" for name, batch in BATCHES.items())}.

"""
COLUMNS = ("training", "weights", "momenta", "masks", "rest", "peak", "share")
KINDS = ("dense", "sparse, open", "sparse, closed")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    kind: str  # of KINDS


def main() -> None:
    """Measures what is missing, then prints and writes the table."""
    parser = options.parser_of_cells(__doc__, "training_memory")
    parser.add_argument("--networks", nargs="+", choices=BATCHES, default=list(BATCHES))
    arguments = parser.parse_args()
    runs = [Run(network, kind) for network in arguments.networks for kind in KINDS]
    known = records.complete(arguments.cells, runs, lambda run: in_process(measured, run))
    found = {records.run_of(Run, record): record for record in known}
    text = report.header("Memory of a training", COMMAND, records.circumstances(known)) + NOTE
    text += report.table(COLUMNS, rows_of(found))
    report.publish(arguments.output, text)


def measured(run: Run) -> Record:
    """Bytes by kind; to be called in a fresh process."""
    from benchmarks import turns
    from benchmarks.step_contenders import Case, Training

    turns.limit_threads(1)
    import tensorflow as tf

    tf.matmul(tf.ones((8, 8)), tf.ones((8, 8)))
    before = _status("VmRSS")
    case = Case(run.network, BATCHES[run.network], DENSITY, 1, trained=False)
    training = Training(case, sparse=run.kind != "dense")
    if run.kind != "dense":
        training.update(0.0, time.perf_counter)
        training.open_window(run.kind == "sparse, open")
    training.step()
    Path("/proc/self/clear_refs").write_text("5")  # the peak from here on
    for _ in range(STEPS):
        training.step()
    peak = _status("VmHWM") - before
    return {"peak": peak, **_bytes_of_variables(training)}


def _bytes_of_variables(training: Any) -> dict[str, int]:
    """Of weights, momenta and masks."""
    weights = {id(each): each for each in training.model.variables}
    own = {id(each): each for each in training.optimizer.variables}
    found = {"weights": 0, "momenta": 0, "masks": 0}
    for key, variable in {**own, **weights}.items():
        kind = "weights" if key in weights else "momenta"
        if variable.dtype in ("bool", "uint8"):
            kind = "masks"
        size = 1 if kind == "masks" else 4
        found[kind] += size * int(variable.numpy().size)
    return found


def _status(name: str) -> int:
    """Bytes that the system counts for this process."""
    text = Path(f"/proc/{os.getpid()}/status").read_text()
    return 1024 * int(text.split(f"{name}:")[1].split()[0])


def rows_of(found: dict[Run, Record]) -> list[Sequence[object]]:
    """A row for each training."""
    rows: list[Sequence[object]] = []
    for run, record in sorted(found.items(), key=lambda item: _order(item[0])):
        dense = found[Run(run.network, "dense")]["peak"]
        parts = [record[name] for name in ("weights", "momenta", "masks")]
        cells = [f"{size / 1e6:.0f}" for size in (*parts, record["peak"] - sum(parts))]
        share = f"{record['peak'] / dense:.2f}"
        rows.append((f"{run.network}, {run.kind}", *cells, f"{record['peak'] / 1e6:.0f}", share))
    return rows


def _order(run: Run) -> tuple[int, int]:
    return list(BATCHES).index(run.network), KINDS.index(run.kind)


if __name__ == "__main__":
    main()
