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
import concurrent.futures
import dataclasses
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import report, step_contenders, turns
from benchmarks.step_contenders import MODELS, Case, Training
from benchmarks.step_parts import parts_of

COMMAND = "python -m benchmarks.train_step"
STEPS_AN_UPDATE = 390  # 50,000 images in batches of 128
WINDOW = 100  # steps before an update with dense weight gradients
UPDATES = 3
HOPELESS = 1.5  # XLA that takes so many times as long at first sight is not measured further
NOTE = f"""Seconds of a step of `fit`, medians over turns; wall time, or CPU time for one thread. `dense` is the better one of
`jit_compile=False` and `True`; `fused` is the dense network with the batch normalization that `sparsify` puts in, without XLA. An update is
`update_masks()` and what it adds to the step after it. With {STEPS_AN_UPDATE} steps an update:

    window none:   open + update / {STEPS_AN_UPDATE}
    window {WINDOW}:    ({WINDOW} open + {STEPS_AN_UPDATE - WINDOW} closed + update) / {STEPS_AN_UPDATE}

Speed-ups are `dense` over this. `closed alone` is what masks that never change get. Densities are the same in all layers (uniform), or
those that a training has led to, with as many weights in all (trained): it moves weights to the first layers, where a weight costs
most multiplications.
"""
PARTS_NOTE = (
    "The seconds of one step, divided as the operations in TensorFlow's profile of it are.\n"
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
        return (
            window * self.opened + (STEPS_AN_UPDATE - window) * self.closed + self.update
        ) / STEPS_AN_UPDATE


def main() -> None:
    """A process a case and a contender's memory, one after the other; then prints and writes."""
    arguments = _arguments()
    count = 3 if arguments.quick else arguments.turns
    results = []
    for case in planned(arguments):
        memory = tuple(
            in_process(step_contenders.peak_memory, case, sparse) for sparse in (False, True)
        )
        results.append(
            dataclasses.replace(
                in_process(measure, case, count, not arguments.quick), memory=memory
            )
        )
        print(results_table(results[-1:]), flush=True)
    text = report.header(
        "A whole training step, dense and sparse", " ".join([COMMAND, *sys.argv[1:]])
    )
    text += f"{NOTE}\nThreads: {arguments.threads}. Density: {arguments.density:g}.\n\n{results_table(results)}\n## Where the time goes\n\n{PARTS_NOTE}\n"
    text += "\n".join(parts_table(result) for result in results)
    print(text)
    report.write(arguments.output, text)


def planned(arguments: argparse.Namespace) -> list[Case]:
    """All cases, model by model."""
    models, batches = (
        (["VGG16-D"], [64]) if arguments.quick else (arguments.models, arguments.batches)
    )
    kinds = (False, True) if arguments.trained else (False,)
    return [
        Case(model, batch, arguments.density, arguments.threads, kind)
        for model in models
        for kind in kinds
        for batch in batches
    ]


def in_process(function: Callable[..., Any], *arguments: object) -> Any:
    """The function's result, from a process of its own: TensorFlow's threads and memory are those of a process."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def measure(case: Case, count: int, xla: bool) -> Result:
    """Times one case, all but its memory."""
    turns.limit_threads(case.threads)
    clock, dense, sparse = (
        turns.clock_for(case.threads),
        Training(case, sparse=False),
        Training(case, sparse=True),
    )

    def windowed(is_open: bool) -> Callable[[], None]:
        def step() -> None:
            sparse.open_window(is_open)
            sparse.step()

        return step

    fused = Training(case, sparse=False, fused_normalization=True)
    contenders = {
        "TF": dense.step,
        "fused": fused.step,
        "open": windowed(True),
        "closed": windowed(False),
    }
    for contender in contenders.values():
        contender()
    if xla:
        contenders |= _worthwhile_xla(case, dense, clock)
    seconds = {
        name: statistics.median(values)
        for name, values in turns.take_turns(contenders, count, clock).items()
    }
    kind = min(("TF", "XLA"), key=lambda name: seconds.get(name, float("inf")))
    sparse.open_window(True)
    update = statistics.median(sparse.update(seconds["open"], clock) for _ in range(UPDATES))
    profiled = {"dense": "TF", "window open": "open", "window closed": "closed"}
    parts = {title: parts_of(contenders[name], seconds[name]) for title, name in profiled.items()}
    return Result(
        case,
        kind,
        seconds[kind],
        seconds["fused"],
        seconds["open"],
        seconds["closed"],
        update,
        (0.0, 0.0),
        parts,
    )


def _worthwhile_xla(
    case: Case, dense: Training, clock: turns.Clock
) -> dict[str, Callable[[], None]]:
    """The dense step with XLA, unless it is out of the question."""
    jitted = Training(case, sparse=False, jit_compile=True)
    first = turns.take_turns({"TF": dense.step, "XLA": jitted.step}, 2, clock)
    return {} if min(first["XLA"]) > HOPELESS * min(first["TF"]) else {"XLA": jitted.step}


def results_table(results: list[Result]) -> str:
    """A row for each model and batch."""
    timed = ("dense s", "fused s", "open s", "closed s", "update s")
    columns = (
        "model",
        "batch",
        "densities",
        *timed,
        "window none",
        f"window {WINDOW}",
        "closed alone",
        "dense GB",
        "sparse GB",
    )
    rows = []
    for r in results:
        times = (
            f"{r.dense:.3f} {r.kind}",
            f"{r.fused:.3f}",
            f"{r.opened:.3f}",
            f"{r.closed:.3f}",
            f"{r.update:.2f}",
        )
        speed_ups = [
            f"{r.dense / seconds:.2f}"
            for seconds in (r.windowed(STEPS_AN_UPDATE), r.windowed(WINDOW), r.closed)
        ]
        rows.append(
            (
                r.case.model,
                r.case.batch,
                _kind(r.case),
                *times,
                *speed_ups,
                *(f"{memory:.2f}" for memory in r.memory),
            )
        )
    return report.table(columns, rows)


def parts_table(result: Result) -> str:
    """A row for each part of the step, the largest of the dense step first."""
    names = list(dict.fromkeys(name for parts in result.parts.values() for name in parts))
    rows = [
        (name, *(f"{parts.get(name, 0.0):.4f}" for parts in result.parts.values()))
        for name in names
    ]
    rows.append(("sum", *(f"{sum(parts.values()):.4f}" for parts in result.parts.values())))
    return report.table(
        (f"{result.case.model}, batch {result.case.batch}, {_kind(result.case)}", *result.parts),
        rows,
    )


def _kind(case: Case) -> str:
    return "trained" if case.trained else "uniform"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", choices=MODELS, nargs="+", default=["WRN-16-8", "VGG16-D"])
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--density", type=float, default=0.05)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--trained",
        action="store_true",
        help="also with the densities of layers in data/trained_densities.json",
    )
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument(
        "--quick", action="store_true", help="VGG16-D at batch 64, three turns, without XLA"
    )
    parser.add_argument("--output", type=Path, default=report.RESULTS / "train_step.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
