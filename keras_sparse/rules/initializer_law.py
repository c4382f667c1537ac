"""A test whether values follow the law of an initializer that scales by fan (NumPy only).

It serves weights that were copied or loaded before any training. What gives training away first are
the bounds: a uniform or truncated draw never exceeds them, and of n values the largest is near.
"""

from typing import NamedTuple

import numpy as np

MIN_VALUES = 64  # fewer values say nothing about the law
Z = 5.0  # standard errors that a moment may be off
LOG_ODDS = 20.0  # a true draw whose largest value is too small has the probability exp(-20)
ZEROS = 1e-4  # share of exact zeros that a draw may have: more are missing weights


class Law(NamedTuple):
    """A distribution of mean 0 and variance 1.

    Attributes:
        bound: no absolute value is larger.
        fourth_moment: mean of the fourth power.
        edge: share of the values within x * bound of the bound, divided by x, for small x.
    """

    bound: float
    fourth_moment: float
    edge: float


LAWS = {
    "uniform": Law(3**0.5, 9 / 5, 1.0),
    "truncated_normal": Law(2 / 0.87962566, 2.3656, 0.2262),  # at two standard deviations
    "untruncated_normal": Law(np.inf, 3.0, 0.0),
}


def follows_law(values: np.ndarray, variance: float, distribution: str) -> bool:
    """Could these values be a draw of this distribution, with mean 0 and this variance?

    Args:
        values: float array.
        variance: above 0.
        distribution: a key of LAWS.

    >>> draw = np.random.default_rng(0).uniform(-1, 1, 1000)
    >>> [follows_law(values, 1 / 3, "uniform") for values in (draw, 1.1 * draw, draw + 0.01)]
    [True, False, False]
    """
    n, law = values.size, LAWS[distribution]
    if n < MIN_VALUES or np.count_nonzero(values == 0) > ZEROS * n:
        return False
    standard = np.asarray(values, np.float64) / variance**0.5
    largest = float(np.abs(standard).max())
    near = law.bound * (1 - LOG_ODDS / (law.edge * n)) if law.edge else 0.0
    errors = np.array(
        [standard.mean(), ((standard**2).mean() - 1) / (law.fourth_moment - 1) ** 0.5]
    )
    return near <= largest <= law.bound * (1 + 1e-5) and bool((np.abs(errors) * n**0.5 < Z).all())


def is_orthogonal(weight: np.ndarray, gain: float) -> bool:
    """Are the rows or the columns of this kernel (..., out) orthogonal, each of length ``gain``?

    >>> is_orthogonal(2 * np.eye(16, 8), 2.0), is_orthogonal(np.ones((16, 8)), 2.0)
    (True, False)
    """
    matrix = np.asarray(weight, np.float64).reshape(-1, weight.shape[-1])
    matrix = matrix.T if matrix.shape[0] < matrix.shape[1] else matrix
    squares = gain**2 * np.eye(matrix.shape[1])
    return weight.size >= MIN_VALUES and np.allclose(
        matrix.T @ matrix, squares, atol=1e-4 * gain**2
    )
