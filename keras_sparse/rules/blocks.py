"""Blocks of weights: input x output channels that are active or missing together (NumPy only)."""

import dataclasses
import math
from typing import Any

import numpy as np

from keras_sparse.rules.density import Shape
from keras_sparse.rules.received import received
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.whole_numbers import is_positive_integer


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks(Structure):
    """Blocks of ``in_`` input channels x ``out`` output channels: the last two axes of a kernel.

    Blocks are counted from channel 0. Where they do not divide an axis, its last block holds the
    channels that are left.

    Args:
        in_: channels of the last axis but one that a block spans.
        out: channels of the last axis.
        per_tap: True: each tap of a convolution has blocks of its own. False: a block spans all
            taps, as ``block_shape=(in_, out)`` does.

    Raises:
        ValueError: channels that are not positive integers, or ``per_tap`` not a bool.

    >>> Blocks(2, 4).to_groups(np.ones((3, 3, 4, 4)))
    array([[72.],
           [72.]])
    >>> Blocks(2, 4, per_tap=True).grid((3, 3, 4, 4))
    (3, 3, 2, 1)
    >>> Blocks(4, 4).group_sizes((3, 10))
    array([[12, 12,  6]])
    """

    in_: int
    out: int
    per_tap: bool = False

    kind = "blocks"

    def __post_init__(self) -> None:
        if not (is_positive_integer(self.in_) and is_positive_integer(self.out)):
            raise ValueError(
                "`in_` and `out` must be positive integers, the channels of a block. "
                f"{received(in_=self.in_, out=self.out)}"
            )
        if not isinstance(self.per_tap, bool):
            raise ValueError(f"`per_tap` must be a bool. {received(per_tap=self.per_tap)}")
        for name in ("in_", "out"):  # of Python, for JSON
            object.__setattr__(self, name, int(getattr(self, name)))

    def grid(self, shape: Shape) -> Shape:
        taps = shape[:-2] if self.per_tap else ()
        return (*taps, -(-shape[-2] // self.in_), -(-shape[-1] // self.out))

    def group_size(self, shape: Shape) -> int:
        return self._taps(shape) * min(self.in_, shape[-2]) * min(self.out, shape[-1])

    def is_ragged(self, shape: Shape) -> bool:
        pairs = zip(shape[-2:], (self.in_, self.out), strict=True)
        return any(channels > side and channels % side for channels, side in pairs)

    def group_sizes(self, shape: Shape) -> np.ndarray:
        pairs = zip(shape[-2:], (self.in_, self.out), strict=True)
        rows, columns = (np.diff([*range(0, n, side), n]) for n, side in pairs)
        sizes = self._taps(shape) * np.outer(rows, columns)
        return np.broadcast_to(sizes, self.grid(shape))

    def to_groups(self, values: np.ndarray) -> np.ndarray:
        grid, taps = self.grid(values.shape), math.prod(values.shape[:-2])
        blocks = self._whole_blocks(values).reshape(taps, grid[-2], self.in_, grid[-1], self.out)
        counts = values.dtype == bool
        if counts:
            blocks = blocks.view(np.uint8)
        # Rows first, then the channels in a row: NumPy adds along both at once five times slower.
        rows = blocks.sum(axis=2 if self.per_tap else (0, 2), dtype=np.uint32 if counts else None)
        sums = rows.sum(axis=-1, dtype=np.int64 if counts else None)
        return np.asarray(sums.reshape(grid))

    def from_groups(self, groups: np.ndarray, shape: Shape) -> np.ndarray:
        mask = groups.repeat(self.in_, axis=-2).repeat(self.out, axis=-1)
        mask = mask[..., : shape[-2], : shape[-1]]
        return np.ascontiguousarray(mask) if self.per_tap else np.broadcast_to(mask, shape).copy()

    def _taps(self, shape: Shape) -> int:
        """Taps that a block spans."""
        return 1 if self.per_tap else math.prod(shape[:-2])

    def _whole_blocks(self, values: np.ndarray) -> np.ndarray:
        """The values, with zeros after the channels where blocks do not divide them."""
        *others, rows, columns = values.shape
        lacking = -rows % self.in_, -columns % self.out
        if not any(lacking):
            return values
        return np.pad(values, [(0, 0)] * len(others) + [(0, n) for n in lacking])

    @property
    def block_shape(self) -> BlockShape:
        return None if self.per_tap else (self.in_, self.out)

    def as_arguments(self) -> dict[str, Any]:
        return super().as_arguments() if self.per_tap else {"block_shape": self.block_shape}

    def get_config(self) -> dict[str, Any]:
        return {"kind": self.kind, "in_": self.in_, "out": self.out, "per_tap": self.per_tap}

    def __repr__(self) -> str:
        per_tap = ", per_tap=True" if self.per_tap else ""
        return f"Blocks({self.in_}, {self.out}{per_tap})"


class ChannelPairs(Blocks):
    """All taps of one (input channel, output channel) pair; equal to ``Blocks(1, 1)``.

    >>> ChannelPairs().group_size((3, 3, 8, 8)), ChannelPairs() == Blocks(1, 1)
    (9, True)
    """

    def __init__(self) -> None:
        super().__init__(1, 1)

    def __repr__(self) -> str:
        return "ChannelPairs()"
