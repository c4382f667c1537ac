"""Compares contenders by their fronts of test error against seconds: a table and a plot."""

import itertools
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import report

Point = tuple[float, float]  # mean seconds, mean test error in %
Group = tuple[str, int, int, str]  # network, training images, threads, machine

LABELS = {  # of the contenders in the plot
    "dense": "dense, float32",
    "dense-fused": "dense, float32, fused normalization",
    "dense-bfloat16": "dense, mixed_bfloat16",
    "dense-bfloat16-fused": "dense, mixed_bfloat16, fused normalization",
    "sparse-5": "5 %, sparse momentum, window 10",
    "erk-5": "5 %, ERK, grown by momentum, window 10",
    "erk-10": "10 %, ERK, grown by momentum, window 10",
    "rigl-5": "5 %, RigL",
    "static-erk-5": "5 %, ERK, static masks",
}
POINTS = (
    *("contender", "epochs", "test error %", "seeds", "seconds", "CPU seconds"),
    *("speed-up", "dense error %"),
)
NOTE = """Each point is a complete training: its learning rate rises and falls over its own epochs. Seconds
count everything from the first batch to the end of the evaluation, data and tracing included.

*Speed-up*: the seconds in which the best dense training has the same test error, over these seconds.
*Dense error*: that of the best dense training in the same seconds. The best dense training of an
error is the quickest of all dense contenders'. Between measured points its front is interpolated,
linearly in the logarithm of the seconds; `-` lies outside of what was measured.

A row comes from `--workers 1 --contenders NAME --epochs N --seeds ...`, the process bound to a core.
"""


def sections(known: Sequence[dict[str, Any]]) -> str:
    """The table of each network, number of images, number of threads and machine."""
    text = NOTE
    for group in sorted({group_of(record) for record in known}):
        records = [record for record in known if group_of(record) == group]
        network, images, threads, machine = group
        text += f"\n## {network}, {images:,} images, threads: {threads}\n\n{machine}\n\n"
        text += report.table(POINTS, _points(records))
    return text


def group_of(record: dict[str, Any]) -> Group:
    """Only runs of one group are compared."""
    machine = record["measured"]["machine"]
    return record["network"], record["images"], record["threads"], machine


def front(records: Sequence[dict[str, Any]], contender: str) -> list[Point]:
    """Mean seconds and mean error for each number of epochs, the quickest first."""
    epochs = sorted({record["epochs"] for record in records if record["contender"] == contender})
    points = []
    for n in epochs:
        runs = [r for r in records if r["contender"] == contender and r["epochs"] == n]
        means = [statistics.mean(run[key] for run in runs) for key in ("seconds", "test_error")]
        points.append((means[0], means[1]))
    return sorted(points)


def seconds_to(points: Sequence[Point], error: float) -> float | None:
    """Seconds at which a front first reaches this error; None outside of its points.

    >>> round(seconds_to([(100.0, 30.0), (400.0, 20.0)], 25.0), 6)
    200.0
    >>> seconds_to([(100.0, 30.0), (400.0, 20.0)], 19.0) is None
    True
    """
    for (t0, e0), (t1, e1) in itertools.pairwise(points):
        if e0 >= error >= e1 and e0 > e1:
            return math.exp(math.log(t0) + (e0 - error) / (e0 - e1) * math.log(t1 / t0))
    return None


def error_at(points: Sequence[Point], seconds: float) -> float | None:
    """The error of a front after this time; None outside of its points.

    >>> error_at([(100.0, 30.0), (400.0, 20.0)], 200.0)
    25.0
    """
    for (t0, e0), (t1, e1) in itertools.pairwise(points):
        if t0 <= seconds <= t1:
            return e0 + (e1 - e0) * math.log(seconds / t0) / math.log(t1 / t0)
    return None


def best_dense(records: Sequence[dict[str, Any]]) -> list[Point]:
    """The points of the dense contenders than which no dense contender is quicker and better."""
    names = sorted({r["contender"] for r in records if _is_dense(r["contender"])})
    fronts = {name: front(records, name) for name in names}
    best = []
    for name, points in fronts.items():
        for seconds, error in points:
            others = [seconds_to(fronts[other], error) for other in names if other != name]
            if all(other is None or seconds <= other for other in others):
                best.append((seconds, error))
    return sorted(best)


def _is_dense(contender: str) -> bool:
    return contender.startswith("dense")


def _points(records: Sequence[dict[str, Any]]) -> list[tuple[object, ...]]:
    keys = dict.fromkeys((record["contender"], record["epochs"]) for record in records)
    dense = best_dense(records)
    rows: list[tuple[object, ...]] = []
    for contender, epochs in sorted(keys):
        runs = [r for r in records if (r["contender"], r["epochs"]) == (contender, epochs)]
        seconds, error = (
            statistics.mean(r[key] for r in runs) for key in ("seconds", "test_error")
        )
        cells = (
            report.mean_and_error([run["test_error"] for run in runs]),
            len(runs),
            report.mean_and_error([run["seconds"] for run in runs], 0),
            report.mean_and_error([run["cpu_seconds"] for run in runs], 0),
        )
        needed, reached = seconds_to(dense, error), error_at(dense, seconds)
        speed_up = "-" if needed is None else f"{needed / seconds:.2f}"
        dense_error = "-" if reached is None else f"{reached:.2f}"
        rows.append((contender, epochs, *cells, speed_up, dense_error))
    return rows


def plot(known: Sequence[dict[str, Any]], path: Path) -> None:
    """Draws the fronts of the largest group; each point says its epochs."""
    from matplotlib.figure import Figure

    groups = [group_of(record) for record in known]
    group = max(set(groups), key=groups.count)
    records = [record for record in known if group_of(record) == group]
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.subplots()
    for contender in sorted({record["contender"] for record in records}):
        points = front(records, contender)
        style = "--" if _is_dense(contender) else "-"
        label = LABELS.get(contender, contender)
        axes.plot(*zip(*points, strict=True), style, marker="o", markersize=4, label=label)
        epochs = sorted({r["epochs"] for r in records if r["contender"] == contender})
        for n, point in zip(epochs, points, strict=True):
            shift = {"xytext": (5, 3), "textcoords": "offset points", "fontsize": "small"}
            axes.annotate(f"{n} epochs", point, **shift)
    axes.set(xlabel="seconds, evaluation and data included", ylabel="test error %")
    axes.set_xlim(0, 1.1 * max(record["seconds"] for record in records))
    title = f"{group[0].upper()} on {group[1]:,} images of CIFAR-10, threads: {group[2]}"
    axes.set_title(title, fontsize="medium")
    axes.grid(True, alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
