"""Which channels of a functional model nobody needs: dead ones, and constant ones that fold.

Every tensor has the ids of the channels of its last axis. Layers that work on each channel by
itself pass ids on, sums tie the ids of their inputs, kernels read ids and create new ones. A
channel is needed if the model's outputs, or a layer without a rule, can tell it from a constant.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray


@dataclasses.dataclass
class Tensor:
    """The channels of a tensor's last axis."""

    ids: Array  # int, shape (channels,)
    constants: Array  # float, shape (channels,): its value everywhere for each input, or NaN

    @property
    def varies(self) -> Array:
        return np.isnan(self.constants)


@dataclasses.dataclass
class Kernel:
    """A layer that multiplies channels with a kernel (..., in, out)."""

    layer: Any
    read: Tensor
    written: Array  # ids, shape (out,)
    is_used: Array  # bool, shape (in, out): any tap has a weight
    folds: Array  # bool, shape (in,): a constant input that the bias can take over


class Channels:
    """Ids that are tied, ids that must stay, and the kernels between them."""

    def __init__(self) -> None:
        self._parents: list[int] = []
        self._pinned: set[int] = set()
        self.kernels: list[Kernel] = []
        self.left_alone: dict[str, str] = {}  # layer: why its channels all stay

    def new(self, number: int) -> Array:
        first = len(self._parents)
        self._parents.extend(range(first, first + number))
        return np.arange(first, first + number)

    def tie(self, ids: Array, others: Array) -> None:
        """Both stay, or both go."""
        for one, other in zip(ids.tolist(), others.tolist(), strict=True):
            self._parents[self._root(one)] = self._root(other)

    def pin(self, tensors: Sequence[Tensor]) -> None:
        """All channels stay."""
        self._pinned.update(i for tensor in tensors for i in tensor.ids.tolist())

    def kept(self) -> Array:
        """Bool array of all ids: True where the channel stays. Each kernel writes at least one."""
        roots = np.array([self._root(i) for i in range(len(self._parents))], int)
        needed = np.zeros(len(roots), bool)
        needed[roots[sorted(self._pinned)]] = True
        while True:
            before = int(needed.sum())
            for kernel in self.kernels:
                out = roots[kernel.written]
                if not needed[out].any():
                    needed[out[0]] = True
                used = kernel.is_used[:, needed[out]].any(axis=1) & ~kernel.folds
                needed[roots[kernel.read.ids[used]]] = True
                if not needed[roots[kernel.read.ids]].any():
                    needed[roots[kernel.read.ids[0]]] = True
            if int(needed.sum()) == before:
                return needed[roots]

    def _root(self, i: int) -> int:
        while self._parents[i] != i:
            self._parents[i] = self._parents[self._parents[i]]
            i = self._parents[i]
        return i
