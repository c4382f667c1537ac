"""``tune`` measures the break-even densities of this machine and writes their table."""

import argparse
import dataclasses
import datetime
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.table import Table as Printed

from keras_sparse.commands.break_even_fit import Point, break_even_density, fitted
from keras_sparse.commands.output import console
from keras_sparse.commands.products import (
    BOTH,
    KERNEL,
    MEASURED,
    QUICK,
    STRUCTURES,
    Measured,
    computing,
)
from keras_sparse.commands.threads import set_threads
from keras_sparse.compute import onednn, tuned
from keras_sparse.compute.break_even import FEW_ROWS, OPEN, TRAINED, Row, Table
from keras_sparse.compute.library import available, tensorflow_version
from keras_sparse.compute.processor import processor
from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.terminal import plain_console
from keras_sparse.models.turns import ratio, take_turns
from keras_sparse.rules.paths import check_writable

DENSITIES = (0.5, 0.2, 0.05)
DTYPES = ("float32", "bfloat16")  # without float16, whose dense operations may take minutes
TURNS, SECONDS_OF_TURN = 7, 0.02
BUSY = 0.3  # times of one operation differ less where nothing else runs


@dataclasses.dataclass(frozen=True)
class Result:
    """What was measured of one kind of product, dtype and structure.

    Attributes:
        row: of the new table.
        shipped: the same of the shipped one.
        points: the break-even densities that the row fits.
        spread: (slowest - fastest) / median of the dense operation over turns, of each point.
    """

    row: Row
    shipped: Row
    points: Sequence[Point]
    spread: Sequence[float]


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns its exit code: 0 written, 2 cannot be measured or written."""
    errors = plain_console(stderr=True)
    threads = set_threads(arguments.threads)
    _hide_gpus()
    if not (now := available()):
        errors.print(f"Cannot run: the compiled ops are {now}")
        return 2
    try:
        path = Path(arguments.output) if arguments.output else tuned.file_of_this_machine()
        check_writable(path)  # not only after all was measured
        products, turns = (QUICK, 1) if arguments.quick else (MEASURED, TURNS)
        results = measure(products, turns, threads)
        table = table_of([result.row for result in results], threads)
        table.save(path)
    except OSError as error:
        errors.print(f"Cannot write the table: {error}")
        return 2
    if arguments.json:
        sys.stdout.write(table.text())
    else:
        console().print(printed(results, table))
    errors.print(f"Written to {path}{_how_to_use(path)}", soft_wrap=True)
    if (slow := onednn.hint()) is not None:
        errors.print(f"{slow}. Measure with the setting of your training.", soft_wrap=True)
    spread = statistics.median(each for result in results for each in result.spread)
    if spread > BUSY:
        errors.print(
            f"The machine was busy: times of the same operation differed by {spread:.0%}. Measure "
            "again when nothing else runs.",
        )
    return 0


def measure(products: Mapping[str, Sequence[Measured]], turns: int, threads: int) -> list[Result]:
    """Measures all rows of the shipped table that ``products`` has, of ``DTYPES``."""
    shipped = tuned.shipped().rows.values()
    rows = [row for row in shipped if row.structure in STRUCTURES and row.dtype in DTYPES]
    points = [(row, product) for row in rows for product in products[row.kind]]
    with progress("tune") as line:
        counted = line.each(points, len(points))

        def noted(row: Row) -> Iterator[Measured]:
            for _ in products[row.kind]:
                _, product = next(counted)
                line.says(f"{product.name}, {row.dtype}")
                yield product

        return [_result(row, noted(row), turns, threads) for row in rows]


def table_of(rows: Sequence[Row], threads: int) -> Table:
    """The table of these rows, measured here and now."""
    return Table(
        processor=processor(),
        threads=threads,
        tensorflow=tensorflow_version(),
        keras_sparse=tuned.library_version(),
        date=datetime.date.today().isoformat(),
        rows={row.key: row for row in rows},
    )


def printed(results: Sequence[Result], table: Table) -> Printed:
    """The table for people, beside the shipped densities."""
    threads = "one thread" if table.threads == 1 else f"{table.threads} threads"
    shown = Printed(title=f"Break-even densities of {table.processor}, {threads}")
    for header in ("product", "dtype", "mask", "density", "changes by", "shipped", "measured"):
        shown.add_column(header)
    for result in results:
        row, before = result.row, result.shipped
        points = ", ".join(f"{p.density:.2f} at {_place(p, row)}" for p in result.points)
        shown.add_row(
            *row.key,
            f"{row.density:.2f}",
            _change(row),
            f"{before.density:.2f}, {_change(before)}",
            points,
        )
    return shown


def _change(row: Row) -> str:
    """How the density changes with the size of the outputs."""
    if row.kind.startswith(OPEN):
        return "any size"
    return f"{row.narrow:.1f} / width" if row.narrow else f"half at {row.half_positions:.0f}"


def _place(point: Point, row: Row) -> str:
    return f"width {point.width:.0f}" if row.narrow else f"{point.positions}"


def _result(row: Row, products: Iterator[Measured], turns: int, threads: int) -> Result:
    points, spread = [], []
    for product in products:
        density, varied = _point(product, row, turns, threads)
        weights = product.product(row.dtype, STRUCTURES[row.structure]).weights
        width = product.pixels if product.size else math.inf
        points.append(Point(weights, product.positions, density, width))
        spread.append(varied)
    return Result(fitted(points, row), row, points, spread)


def _point(measured: Measured, row: Row, turns: int, threads: int) -> tuple[float, float]:
    """The lower break-even density of the product alone and with its gradients; the spread.

    For few rows only the product counts, and for trained products both together. For open ones it
    is the dense operation's time over that of the custom op, for the gradient of all weights.
    """
    found, spread = [], []
    for gradients, densities in _timed(row.kind):
        times, varied = _times(measured, row, gradients, densities, turns, threads)
        is_open = gradients == KERNEL
        found.append(1 / times[1.0] if is_open else break_even_density(times))
        spread.append(varied)
    return min(found), max(spread)


def _timed(kind: str) -> list[tuple[str, tuple[float, ...]]]:
    """The gradients that are timed with the product, and at which densities."""
    if kind.startswith(OPEN):
        return [(KERNEL, (1.0,))]
    if kind == FEW_ROWS:
        return [("", DENSITIES)]
    return [(BOTH, DENSITIES)] if kind.startswith(TRAINED) else [("", DENSITIES), (BOTH, DENSITIES)]


def _times(
    measured: Measured,
    row: Row,
    gradients: str,
    densities: Sequence[float],
    turns: int,
    threads: int,
) -> tuple[dict[float, float], float]:
    """{density: seconds of the custom op / those of the dense operation}; their spread."""
    product = measured.product(row.dtype, STRUCTURES[row.structure])
    clock = time.process_time if threads == 1 else time.perf_counter  # waiting threads spin
    contenders = {
        str(density): computing(measured, product, density, gradients)
        for density in (None, *densities)
    }
    seconds = take_turns(contenders, turns, SECONDS_OF_TURN, clock=clock)
    dense = seconds["None"]
    times = {density: ratio(seconds[str(density)], dense) for density in densities}
    return times, (max(dense) - min(dense)) / statistics.median(dense)


def _hide_gpus() -> None:
    """The kernels for CPUs are measured, and the dense operations of CPUs."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        tf.config.set_visible_devices([], "GPU")


def _how_to_use(path: Path) -> str:
    try:
        is_found = path == tuned.file_of_this_machine()
    except FileNotFoundError:
        is_found = False
    asked = os.environ.get(tuned.VARIABLE)
    if (is_found and not asked) or asked == str(path):
        return ": new processes read it"
    return f": processes with {tuned.VARIABLE}={path} read it"
