"""Several layers are read and ranked at once where a machine has cores to spare (NumPy only)."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from keras_sparse.rules import scores

T = TypeVar("T")
MOST_THREADS = 8  # each holds the arrays of a layer
# They draw no random numbers, whose order would change, and touch nothing but their layer.
SAFE_RULES = (
    scores.magnitude,
    scores.momentum,
    scores.gradient,
    scores.mean_momentum,
    scores.mean_magnitude,
    scores.active_count,
    None,
)


def for_each_layer(function: Callable[[int], T], layers: int, *rules: object) -> list[T]:
    """The results of a function of each layer's number, in order.

    Half of the cores work at once, so that on two cores one layer's arrays are in memory. A rule
    that is not ours, or that draws random numbers, is called for one layer after the other.

    Args:
        function: from a layer's number to its result.
        layers: how many there are.
        rules: the scores and shares that the function calls.

    >>> for_each_layer(lambda i: i * i, 3, scores.magnitude)
    [0, 1, 4]
    """
    threads = min(MOST_THREADS, (os.cpu_count() or 1) // 2, layers)
    if threads < 2 or any(rule not in SAFE_RULES for rule in rules):
        return [function(i) for i in range(layers)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, range(layers)))
