"""Whole channels of a kernel that are active or missing together (NumPy only)."""

import dataclasses
import math
from typing import Any

import numpy as np

from keras_sparse.rules.density import Shape
from keras_sparse.rules.flags import check_word
from keras_sparse.rules.structure import Structure


@dataclasses.dataclass(frozen=True, eq=False)
class Channels(Structure):
    """All weights of one output channel (a unit, a filter), or all that read one input channel.

    What such masks leave out, ``keras_sparse.compact`` removes from the model. Name the last layer
    in ``dense``: its output channels are what the model predicts.

    Args:
        side: ``"out"``: the last axis of a kernel; ``"in"``: the last but one.

    Raises:
        ValueError: another side.

    >>> Channels("out").to_groups(np.ones((3, 3, 4, 2)))
    array([[36., 36.]])
    >>> Channels("in").from_groups(np.array([[True], [False]]), (2, 3))
    array([[ True,  True,  True],
           [False, False, False]])
    """

    side: str = "out"

    kind = "channels"

    def __post_init__(self) -> None:
        check_word("side", self.side, "in", "out")

    def grid(self, shape: Shape) -> Shape:
        return (1, shape[-1]) if self.side == "out" else (shape[-2], 1)

    def group_size(self, shape: Shape) -> int:
        return math.prod(shape) // max(self.grid(shape))

    def to_groups(self, values: np.ndarray) -> np.ndarray:
        across = -2 if self.side == "out" else -1
        taps = tuple(range(values.ndim - 2))
        return np.asarray(values.sum(axis=across, keepdims=True).sum(axis=taps))

    def from_groups(self, groups: np.ndarray, shape: Shape) -> np.ndarray:
        return np.broadcast_to(groups, shape).copy()

    def why_not(self, shape: Shape) -> str | None:
        return f"it has {len(shape)} axes, fewer than two" if len(shape) < 2 else None

    def get_config(self) -> dict[str, Any]:
        return {"kind": self.kind, "side": self.side}

    def __repr__(self) -> str:
        return f'Channels("{self.side}")'
