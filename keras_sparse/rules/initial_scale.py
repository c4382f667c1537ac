"""The initial scale gives an untrained weight the variance for its active connections (NumPy only).

Initializers that scale by fan (Glorot, He, LeCun) give each weight the variance ``scale / n``.
Here n counts the connections into a unit (``fan_in``), out of a unit (``fan_out``), or is the
mean of the two numbers (``fan_avg``). Under a mask fewer connections are left, and the signal
shrinks by sqrt(density) in every layer. Evci et al. 2022 count the active connections of the two
units that a weight connects:

    weight <- weight * sqrt(n / n_active)

Source: *Gradient Flow in Sparse Neural Networks and How Lottery Tickets Win*, arXiv 2010.03533.
"""

import math
from typing import NamedTuple

import numpy as np

from keras_sparse.rules.flags import check_word

INITIAL_SCALES = ("auto", None)


class Connections(NamedTuple):
    """The axes of a kernel over which one counts the connections of a unit.

    Attributes:
        into: the axes that an output unit sums over.
        out_of: the axes that lead from one input unit to all outputs.
    """

    into: tuple[int, ...]
    out_of: tuple[int, ...]


def check_initial_scale(initial_scale: str | None) -> str | None:
    """Returns ``initial_scale``; raises ValueError unless it is one of INITIAL_SCALES."""
    check_word("initial_scale", initial_scale, *INITIAL_SCALES)
    return initial_scale


def plain(rank: int) -> Connections:
    """Connections of a kernel (taps..., in, out): dense, convolutional, recurrent.

    >>> plain(4)
    Connections(into=(0, 1, 2), out_of=(0, 1, 3))
    """
    taps = tuple(range(rank - 2))
    return Connections((*taps, rank - 2), (*taps, rank - 1))


def transposed(rank: int) -> Connections:
    """Connections of the kernel (taps..., out, in) of a transposed convolution."""
    into, out_of = plain(rank)
    return Connections(out_of, into)


def depthwise(rank: int) -> Connections:
    """Connections of a depthwise kernel (taps..., in, outputs of each input)."""
    taps = tuple(range(rank - 2))
    return Connections(taps, (*taps, rank - 1))


def einsum(equation: str) -> Connections:
    """Connections of the kernel of an EinsumDense layer with this equation.

    >>> einsum("abc,cde->abde")
    Connections(into=(0,), out_of=(1, 2))
    """
    operands, output = equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    into = tuple(axis for axis, letter in enumerate(kernel) if letter not in output)
    out_of = tuple(axis for axis, letter in enumerate(kernel) if letter not in inputs)
    return Connections(into, out_of)


def scale_factors(mask: np.ndarray, connections: Connections, mode: str) -> np.ndarray:
    """sqrt(n / n_active) for every weight of a kernel.

    Args:
        mask: bool array of the kernel's shape, True = active.
        connections: which axes to count over.
        mode: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"``, as in Keras' ``VarianceScaling``.

    Returns:
        float64 array, at least 1, of a shape that broadcasts to that of the mask. A unit without
        active connections counts as one with one.

    Of the 4 connections into the first unit 4 are active, into the second 1:

    >>> mask = np.array([[True, False], [True, True], [True, False], [True, False]])
    >>> scale_factors(mask, plain(2), "fan_in")
    array([[1., 2.]])
    """
    counts = {"fan_in": connections[:1], "fan_out": connections[1:], "fan_avg": connections}
    counted = counts[mode]
    total = sum(math.prod(mask.shape[axis] for axis in axes) for axes in counted)
    active = sum(mask.sum(axis=axes, keepdims=True, dtype=np.int32) for axes in counted)
    factors = np.asarray(total / np.maximum(active, 1))
    return np.sqrt(factors, out=factors)  # of a mean of two numbers it has the kernel's shape
