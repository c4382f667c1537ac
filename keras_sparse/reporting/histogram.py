"""The histogram of a weight's active values (NumPy only)."""

import dataclasses

import numpy as np

BINS = 41  # an odd number: the middle one is around 0


@dataclasses.dataclass(frozen=True)
class Histogram:
    """Numbers of values in bins of equal width, from -largest to largest.

    Attributes:
        counts: int array (BINS,).
        largest: the largest magnitude, 0 if there are no values.
        mean: of the values that are finite.
        deviation: their standard deviation.
        not_finite: number of values that are infinite or NaN, which no bin counts.
    """

    counts: np.ndarray
    largest: float
    mean: float
    deviation: float
    not_finite: int

    @property
    def edges(self) -> np.ndarray:
        return np.linspace(-self.largest, self.largest, BINS + 1)


def histogram_of(values: np.ndarray) -> Histogram:
    """Counts values of any shape.

    >>> histogram_of(np.array([-1.0, 0.0, 0.0, 1.0])).counts[[0, 20, 40]]
    array([1, 2, 1])
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    largest = float(np.abs(finite).max(initial=0.0))
    span = largest or 1.0
    counts, _ = np.histogram(finite, BINS, (-span, span))
    mean, deviation = (float(finite.mean()), float(finite.std())) if finite.size else (0.0, 0.0)
    return Histogram(counts, largest, mean, deviation, values.size - finite.size)
