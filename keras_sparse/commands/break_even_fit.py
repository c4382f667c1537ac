"""Break-even densities from times, and the row of a table that fits them (NumPy only)."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from keras_sparse.compute.break_even import OPEN, Row

HALF_POSITIONS = (0, *np.unique(np.geomspace(4, 2000, 100).round()).astype(int).tolist())

DENSITIES = np.arange(101) / 100


@dataclasses.dataclass(frozen=True)
class Point:
    """A measured break-even density.

    Attributes:
        weights: of the kernel, active or not.
        positions: outputs of one channel.
        density: the break-even, in [0, 1]; of an open kind the time of the dense operation over
            that of the custom op.
        width: outputs in a row of an image; infinity for a matrix product.
    """

    weights: int
    positions: int
    density: float
    width: float = math.inf


def break_even_density(times: Mapping[float, float]) -> float:
    """The density at which the custom op takes as long as the dense one.

    The time between two densities, and beyond the last ones, is taken to be linear.

    Args:
        times: {density: time of the custom op / time of the dense one}, of two densities or more.

    >>> break_even_density({0.5: 0.8, 0.1: 0.2, 0.05: 0.15})
    0.633
    >>> break_even_density({0.5: 3.0, 0.1: 1.4, 0.05: 1.2})
    0.0
    """
    densities = sorted(times)
    for low, high in itertools.pairwise(densities):
        is_last = high == densities[-1]
        if times[high] >= 1 or is_last:
            rise = (times[high] - times[low]) / (high - low)
            if rise <= 0:  # noise: the mask makes no difference
                return 1.0 if times[high] < 1 else 0.0
            return float(np.clip(low + (1 - times[low]) / rise, 0, 1).round(3))
    raise ValueError(f"`times` must have two densities or more. Received: times={times}")


def fitted(points: Sequence[Point], start: Row) -> Row:
    """The row of which the formula comes nearest to the points, in least squares.

    A density above a point counts four times: there the custom op would run where it is slower.
    Three numbers stay those of ``start``: ``call_multiply_adds``, ``min_multiply_adds`` and
    ``half_weights``. A product alone does not show the first two, and these products are larger.
    ``narrow`` keeps its ratio to the density, and then ``half_positions`` stay, too. An open kind
    is 1 where the median point gains.

    Args:
        points: of products of one kind, dtype and structure.
        start: the shipped row of these.
    """
    if start.kind.startswith(OPEN):
        gains = statistics.median(point.density for point in points) > 1
        return dataclasses.replace(start, density=float(gains))
    if start.narrow:
        scaled = [_with_density(start, density) for density in DENSITIES.tolist()]
        return min(scaled, key=lambda row: _error(points, [_of(row, p) for p in points]))
    found = [_with_half_positions(points, start, half) for half in HALF_POSITIONS]
    return min(found, key=lambda row_and_error: row_and_error[1])[0]


def _of(row: Row, point: Point) -> float:
    return max(0.0, float(row.at(point.weights, point.positions, point.width)))


def _with_density(row: Row, density: float) -> Row:
    narrow = round(density * row.narrow / row.density, 2)
    return dataclasses.replace(row, density=density, narrow=narrow)


def _error(points: Sequence[Point], densities: Sequence[float]) -> float:
    above = np.array(densities) - [point.density for point in points]
    return float((np.where(above > 0, 4, 1) * above**2).sum())


def _with_half_positions(points: Sequence[Point], start: Row, half: float) -> tuple[Row, float]:
    """The best row with these ``half_positions``, and its error."""
    unit = dataclasses.replace(start, density=1.0, half_positions=half)
    shares = np.array([_of(unit, point) for point in points])
    errors = [_error(points, density * shares) for density in DENSITIES]
    best = int(np.argmin(errors))
    return dataclasses.replace(unit, density=float(DENSITIES[best])), errors[best]
