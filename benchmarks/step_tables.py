"""Computes the speed-ups of trainings from the times of their steps; writes the tables."""

import dataclasses
import functools
from collections.abc import Callable

from benchmarks import report, structures
from benchmarks.step_contenders import Case

STEPS_AN_UPDATE = 390  # 50,000 images in batches of 128
DENSE = ("float32", "XLA", "fused", "bfloat16", "bfloat16, fused")
NOTE = f"""\
Seconds of a step of `fit`, medians over turns; wall time, or CPU time for one thread. `float32` is
plain Keras, `XLA` the same with `jit_compile=True` (no figure: it took more than 1.5 times as long
in a first try, or `--no-xla` left it out). `fused` has the batch normalization that `sparsify`
puts in. `bfloat16` is `mixed_bfloat16`, which `--no-bfloat16` leaves out; in rows that end with
`mixed_bfloat16`, the sparse model has this policy, too. `open, 0.25` is an open window with
`growth_batch=0.25`. An update is `update_masks()` and what it adds to the step after it. With
{STEPS_AN_UPDATE} steps an update, the mean step of a training is

    window none:  open + update / {STEPS_AN_UPDATE}
    window W:     (W open + ({STEPS_AN_UPDATE} - W) closed + update) / {STEPS_AN_UPDATE}

A speed-up is the time of the best dense float32 step over this mean; behind the stroke, that of the
best bfloat16 step, if it was measured. `closed alone` is what masks that never change get.
Densities are the same in all layers (uniform), or those that a training has led to, with the same
number of weights in all (trained): it moves weights to the first layers, where a weight costs most
multiplications.
"""
PARTS_NOTE = "The seconds of one step, divided as the operations in TensorFlow's profile of it are."


@dataclasses.dataclass(frozen=True)
class Result:
    """Median seconds of one case, and its memory in GB."""

    case: Case
    seconds: dict[str, float]  # of the dense contenders, and "open" and "closed"
    update: float
    memory: tuple[float, float]  # dense, sparse
    parts: dict[str, dict[str, float]]  # of a step of each contender that was profiled

    def windowed(self, window: int, is_open: str = "open") -> float:
        """Mean seconds of a step if the window is open for this many steps before each update.

        Args:
            window: the steps.
            is_open: the contender that makes them.
        """
        closed = STEPS_AN_UPDATE - window
        steps = window * self.seconds[is_open] + closed * self.seconds["closed"]
        return (steps + self.update) / STEPS_AN_UPDATE

    @property
    def parts_of_batch(self) -> list[str]:
        """The contenders with an open window on a part of the batch."""
        return [name for name in self.seconds if name.startswith("open, ")]

    def best_dense(self) -> list[float]:
        """Seconds of the quickest dense step in float32, and in bfloat16 if it was measured."""
        known = [kind for kind in DENSE if kind in self.seconds]
        by_type = [
            [kind for kind in known if ("bfloat16" in kind) == is_it] for is_it in (False, True)
        ]
        return [min(self.seconds[kind] for kind in kinds) for kinds in by_type if kinds]


def opened(growth_batch: float) -> str:
    """The name of the step with an open window on this share of the batch."""
    return "open" if growth_batch == 1 else f"open, {growth_batch:g}"


def text(results: list[Result], windows: list[int]) -> str:
    """The report after its header."""
    case = results[0].case
    parts = f"## Where the time goes\n\n{PARTS_NOTE}\n\n"
    parts += "\n".join(parts_table(result) for result in results)
    settings = f"Threads: {case.threads}. Density: {case.density:g}. Optimizer: {case.optimizer}."
    tables = f"{seconds_table(results)}\n{speed_ups_table(results, windows)}"
    return f"{NOTE}\n{settings}\n\n{tables}\n{parts}"


def seconds_table(results: list[Result]) -> str:
    """A row of seconds and gigabytes for each case."""
    steps = (*DENSE, "open", *results[0].parts_of_batch, "closed")
    columns = ("case", *steps, "update", "dense GB", "sparse GB")
    rows = []
    for result in results:
        times = [result.seconds.get(name) for name in steps]
        cells = ["" if seconds is None else f"{seconds:.3f}" for seconds in times]
        memory = [f"{gigabytes:.2f}" for gigabytes in result.memory]
        rows.append((name_of(result.case), *cells, f"{result.update:.2f}", *memory))
    return report.table(columns, rows)


def speed_ups_table(results: list[Result], windows: list[int]) -> str:
    """A row for each case: speed-ups against both types of dense steps, by window."""
    steps: dict[str, Callable[[Result], float]] = {
        "window none": lambda result: result.windowed(STEPS_AN_UPDATE)
    }
    for window in windows:
        for name in ("open", *results[0].parts_of_batch):
            column = f"window {window}{name.removeprefix('open')}"
            steps[column] = functools.partial(Result.windowed, window=window, is_open=name)
    steps["closed alone"] = lambda result: result.seconds["closed"]
    rows = [
        (name_of(result.case), *(_speed_up(result, step(result)) for step in steps.values()))
        for result in results
    ]
    return report.table(("speed-up", *steps), rows)


def _speed_up(result: Result, seconds: float) -> str:
    return " / ".join(f"{best / seconds:.2f}" for best in result.best_dense())


def parts_table(result: Result) -> str:
    """A row for each part of the step, the largest of the dense step first."""
    every = result.parts.values()
    names = dict.fromkeys(name for parts in every for name in parts)
    rows = [(name, *(f"{parts.get(name, 0.0):.4f}" for parts in every)) for name in names]
    rows.append(("sum", *(f"{sum(parts.values()):.4f}" for parts in every)))
    return report.table((name_of(result.case), *result.parts), rows)


def name_of(case: Case) -> str:
    """Network, batch, masks and densities."""
    densities = "trained" if case.trained else "uniform"
    name = f"{case.model}, batch {case.batch}, {structures.name_of(case.structure)}, {densities}"
    return name if case.policy == "float32" else f"{name}, {case.policy}"
