"""Compares contenders by their fronts of test error against seconds, in a table."""

import itertools
import math
import statistics
from collections.abc import Sequence

from benchmarks import report
from benchmarks.records import Record

Point = tuple[float, float]  # mean seconds, mean test error in %
Group = tuple[str, int, int, str]  # network, training images, threads, machine

POINTS = (
    *("contender", "epochs", "test error %", "seeds", "seconds", "CPU seconds"),
    *("speed-up", "dense error %"),
)
NOTE = """Each point is a complete training: its learning rate rises and falls over its own epochs.
Seconds count everything from the first batch to the end of the evaluation, data and tracing
included.

*Speed-up*: the seconds in which the best dense training has the same test error, over these
seconds. *Dense error*: that of the best dense training in the same seconds. The best dense training
of an error is the quickest of all dense contenders'. Between measured points its front is
interpolated, linearly in the logarithm of the seconds. `-` lies outside of what was measured. With
`≤`, the shortest dense training has a smaller error already: dense needs at most its time.

A row comes from `--workers 1 --contenders NAME --epochs N --seeds ...`, the process bound to a
core.
"""


def sections(known: Sequence[Record]) -> str:
    """The table of each network, number of images, number of threads and machine."""
    text = NOTE
    for group in sorted({group_of(record) for record in known}):
        records = [record for record in known if group_of(record) == group]
        network, images, threads, machine = group
        text += f"\n## {network}, {images:,} images, threads: {threads}\n\n{machine}\n\n"
        text += report.table(POINTS, _points(records))
    return text


def group_of(record: Record) -> Group:
    """Only runs of one group are compared."""
    machine = record["measured"]["machine"]
    return record["network"], record["images"], record["threads"], machine


def points_of(records: Sequence[Record], contender: str) -> dict[int, Point]:
    """{number of epochs: mean seconds and mean error of the trainings}."""
    own = [record for record in records if record["contender"] == contender]
    points = {}
    for epochs in sorted({record["epochs"] for record in own}):
        runs = [record for record in own if record["epochs"] == epochs]
        points[epochs] = (_mean(runs, "seconds"), _mean(runs, "test_error"))
    return points


def front(records: Sequence[Record], contender: str) -> list[Point]:
    """The contender's points, the quickest first."""
    return sorted(points_of(records, contender).values())


def _mean(runs: Sequence[Record], key: str) -> float:
    return statistics.mean(run[key] for run in runs)


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


def best_dense(records: Sequence[Record]) -> list[Point]:
    """The points of dense contenders than which none of them is quicker at the same error."""
    names = sorted({r["contender"] for r in records if is_dense(r["contender"])})
    fronts = [front(records, name) for name in names]
    points = sorted(point for each in fronts for point in each)
    return [point for point in points if not any(_is_behind(point, each) for each in fronts)]


def _is_behind(point: Point, other: Sequence[Point]) -> bool:
    """Whether this front reaches the point's error sooner, between its points or at one."""
    seconds, error = point
    if any(t < seconds and e <= error for t, e in other):
        return True
    between = seconds_to(other, error)
    return point not in other and between is not None and between < seconds


def is_dense(contender: str) -> bool:
    """Whether this is a dense training."""
    return contender.startswith("dense")


def _points(records: Sequence[Record]) -> list[tuple[object, ...]]:
    dense = best_dense(records)
    rows: list[tuple[object, ...]] = []
    for contender in sorted({record["contender"] for record in records}):
        for epochs, (seconds, error) in points_of(records, contender).items():
            runs = [r for r in records if (r["contender"], r["epochs"]) == (contender, epochs)]
            cells = (
                report.mean_and_error([run["test_error"] for run in runs]),
                len(runs),
                report.mean_and_error([run["seconds"] for run in runs], 0),
                report.mean_and_error([run["cpu_seconds"] for run in runs], 0),
            )
            reached = error_at(dense, seconds)
            dense_error = "-" if reached is None else f"{reached:.2f}"
            rows.append((contender, epochs, *cells, speed_up(dense, seconds, error), dense_error))
    return rows


def speed_up(dense: Sequence[Point], seconds: float, error: float) -> str:
    """The cell of a training with this time and error, beside the best dense points.

    >>> [speed_up([(80.0, 40.0), (400.0, 20.0)], 50.0, error) for error in (20.0, 45.0, 19.0)]
    ['8.00', '≤ 1.60', '-']
    """
    needed = seconds_to(dense, error)
    if needed is not None:
        return f"{needed / seconds:.2f}"
    return f"≤ {dense[0][0] / seconds:.2f}" if dense and error > dense[0][1] else "-"
