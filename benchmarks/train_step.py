"""Times a whole sparse training step against dense Keras, and measures its memory.

    # WRN-16-8 and VGG16-D, batch 64 and 128, density 0.05
    python -m benchmarks.train_step
    # also with the densities that a training gives the layers
    python -m benchmarks.train_step --trained
    # VGG16-D at batch 64, few turns, without XLA
    python -m benchmarks.train_step --quick

Each case has its own process, where contenders take turns: the dense step, with and without XLA;
the sparse step with the growth window open (dense weight gradients) and closed; a mask update. The
speed-up of a training with one update in 390 steps is computed from these.
"""

import argparse
import dataclasses
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import options, report, step_contenders, turns
from benchmarks.processes import in_process
from benchmarks.step_contenders import MODELS, Case, Training
from benchmarks.step_parts import parts_of

COMMAND = "python -m benchmarks.train_step"
STEPS_AN_UPDATE = 390  # 50,000 images in batches of 128
WINDOW = 100  # steps before an update with dense weight gradients
CLOSED_STEPS = STEPS_AN_UPDATE - WINDOW
UPDATES = 3
HOPELESS = 1.5  # XLA that takes this many times the other time at first is not measured further
NOTE = f"""\
Seconds of a step of `fit`, medians over turns; wall time, or CPU time for one thread. `dense` is
the better one of `jit_compile=False` and `True`. `fused` is the dense network with the batch
normalization that `sparsify` puts in, without XLA. An update is `update_masks()` and what it adds
to the step after it. With {STEPS_AN_UPDATE} steps an update:

    window none:   open + update / {STEPS_AN_UPDATE}
    window {WINDOW}:    ({WINDOW} open + {CLOSED_STEPS} closed + update) / {STEPS_AN_UPDATE}

Speed-ups are `dense` over this. `closed alone` is what masks that never change get. Densities are
the same in all layers (uniform), or those that a training has led to, with the same number of
weights in all (trained): it moves weights to the first layers, where a weight costs most
multiplications.
"""
PARTS_NOTE = (
    "The seconds of one step, divided as the operations in TensorFlow's profile of it are.\n"
)
COLUMNS = (
    *("model", "batch", "densities", "dense s", "fused s", "open s", "closed s", "update s"),
    *("window none", f"window {WINDOW}", "closed alone", "dense GB", "sparse GB"),
)


@dataclasses.dataclass(frozen=True)
class Result:
    """Median seconds of one case, and its memory in GB."""

    case: Case
    kind: str  # which dense step was the better one
    dense: float
    fused: float  # dense, with fused batch normalization
    opened: float
    closed: float
    update: float
    memory: tuple[float, float]  # dense, sparse
    parts: dict[str, dict[str, float]]  # of each contender

    def windowed(self, window: int) -> float:
        """Mean seconds of a step if the window is open for this many steps before each update."""
        steps = window * self.opened + (STEPS_AN_UPDATE - window) * self.closed
        return (steps + self.update) / STEPS_AN_UPDATE


def main() -> None:
    """A process a case and a contender's memory, one after the other; then prints and writes."""
    arguments = _arguments()
    count = 3 if arguments.quick else arguments.turns
    results = []
    for case in planned(arguments):
        kinds = (False, True)
        memory = tuple(in_process(step_contenders.peak_memory, case, kind) for kind in kinds)
        result = in_process(measure, case, count, not arguments.quick)
        results.append(dataclasses.replace(result, memory=memory))
        print(results_table(results[-1:]), flush=True)
    command = " ".join([COMMAND, *sys.argv[1:]])
    text = report.header("A whole training step, dense and sparse", command) + NOTE
    text += f"\nThreads: {arguments.threads}. Density: {arguments.density:g}.\n\n"
    text += f"{results_table(results)}\n## Where the time goes\n\n{PARTS_NOTE}\n"
    text += "\n".join(parts_table(result) for result in results)
    print(text)
    report.write(arguments.output, text)


def planned(arguments: argparse.Namespace) -> list[Case]:
    """All cases, model by model."""
    models, batches = arguments.models, arguments.batches
    if arguments.quick:
        models, batches = ["VGG16-D"], [64]
    kinds = (False, True) if arguments.trained else (False,)
    cases = [(model, kind, batch) for model in models for kind in kinds for batch in batches]
    common = (arguments.density, arguments.threads)
    return [Case(model, batch, *common, kind) for model, kind, batch in cases]


def measure(case: Case, count: int, xla: bool) -> Result:
    """Times one case, all but its memory; to be called in a fresh process."""
    turns.limit_threads(case.threads)
    clock = turns.clock_for(case.threads)
    dense, sparse = Training(case, sparse=False), Training(case, sparse=True)
    contenders = contenders_of(case, dense, sparse)
    if xla:
        contenders |= _worthwhile_xla(case, dense, clock)
    timed = turns.take_turns(contenders, count, clock)
    seconds = {name: statistics.median(values) for name, values in timed.items()}
    kind = min(("TF", "XLA"), key=lambda name: seconds.get(name, float("inf")))
    sparse.open_window(True)
    update = statistics.median(sparse.update(seconds["open"], clock) for _ in range(UPDATES))
    profiled = {"dense": "TF", "window open": "open", "window closed": "closed"}
    parts = {title: parts_of(contenders[name], seconds[name]) for title, name in profiled.items()}
    steps = (seconds[kind], seconds["fused"], seconds["open"], seconds["closed"])
    return Result(case, kind, *steps, update, memory=(0.0, 0.0), parts=parts)


def contenders_of(case: Case, dense: Training, sparse: Training) -> dict[str, Callable[[], None]]:
    """The steps to compare, warmed up."""

    def windowed(is_open: bool) -> Callable[[], None]:
        def step() -> None:
            sparse.open_window(is_open)
            sparse.step()

        return step

    fused = Training(case, sparse=False, fused_normalization=True)
    contenders = {"TF": dense.step, "fused": fused.step}
    contenders |= {"open": windowed(True), "closed": windowed(False)}
    for contender in contenders.values():
        contender()
    return contenders


def _worthwhile_xla(
    case: Case, dense: Training, clock: turns.Clock
) -> dict[str, Callable[[], None]]:
    """The dense step with XLA, unless it is out of the question."""
    jitted = Training(case, sparse=False, jit_compile=True)
    first = turns.take_turns({"TF": dense.step, "XLA": jitted.step}, 2, clock)
    return {} if min(first["XLA"]) > HOPELESS * min(first["TF"]) else {"XLA": jitted.step}


def results_table(results: list[Result]) -> str:
    """A row for each model and batch."""
    rows = []
    for r in results:
        times = [f"{seconds:.3f}" for seconds in (r.dense, r.fused, r.opened, r.closed)]
        times[0] += f" {r.kind}"
        steps = (r.windowed(STEPS_AN_UPDATE), r.windowed(WINDOW), r.closed)
        speed_ups = [f"{r.dense / seconds:.2f}" for seconds in steps]
        memory = [f"{gigabytes:.2f}" for gigabytes in r.memory]
        case = (r.case.model, r.case.batch, _kind(r.case))
        rows.append((*case, *times, f"{r.update:.2f}", *speed_ups, *memory))
    return report.table(COLUMNS, rows)


def parts_table(result: Result) -> str:
    """A row for each part of the step, the largest of the dense step first."""
    every = result.parts.values()
    names = dict.fromkeys(name for parts in every for name in parts)
    rows = [(name, *(f"{parts.get(name, 0.0):.4f}" for parts in every)) for name in names]
    rows.append(("sum", *(f"{sum(parts.values()):.4f}" for parts in every)))
    title = f"{result.case.model}, batch {result.case.batch}, {_kind(result.case)}"
    return report.table((title, *result.parts), rows)


def _kind(case: Case) -> str:
    return "trained" if case.trained else "uniform"


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    add("--models", choices=MODELS, nargs="+", default=["WRN-16-8", "VGG16-D"])
    add("--batches", type=int, nargs="+", default=[64, 128])
    add("--density", type=float, default=0.05)
    add("--threads", type=int, default=2)
    add("--trained", action="store_true", help="also with the densities of trained_densities.json")
    add("--turns", type=int, default=7)
    add("--quick", action="store_true", help="VGG16-D at batch 64, three turns, without XLA")
    add("--output", type=Path, default=report.RESULTS / "train_step.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
