"""A structure says which weights of a mask are active or missing together (NumPy only).

It divides a kernel (taps..., in, out) into groups. Rules count, prune and grow whole groups. All
groups of a kernel have one size, but those at an edge where blocks do not divide the channels: they
hold the channels that are left. Arguments give a structure as ``structure``, or by its short form
``block_shape``.
"""

import abc
import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from keras_sparse.rules.density import Shape

BlockShape = tuple[int, int] | None


class Structure(abc.ABC):
    """What a mask is made of: groups of weights. Structures of equal config are equal.

    A kernel's groups have an array of their own, the grid, with one value for each group.
    """

    kind: ClassVar[str]  # its name in a config

    @abc.abstractmethod
    def grid(self, shape: Shape) -> Shape:
        """The shape of the array of groups of a kernel of this shape."""

    @abc.abstractmethod
    def group_size(self, shape: Shape) -> int:
        """Weights in one group of a kernel of this shape, the largest where they differ."""

    def is_ragged(self, shape: Shape) -> bool:
        """Do the groups of a kernel of this shape differ in size?"""
        return False

    def group_sizes(self, shape: Shape) -> np.ndarray:
        """Weights in each group: an int array of the shape ``grid(shape)``."""
        return np.full(self.grid(shape), self.group_size(shape))

    def unit(self, shape: Shape) -> int:
        """What numbers of active weights are counted in: a group; 1 where groups differ in size."""
        return 1 if self.is_ragged(shape) else self.group_size(shape)

    @abc.abstractmethod
    def to_groups(self, values: np.ndarray) -> np.ndarray:
        """Sums of values over each group.

        Args:
            values: array of a kernel's shape.

        Returns:
            Array of the shape ``grid(values.shape)``.
        """

    @abc.abstractmethod
    def from_groups(self, groups: np.ndarray, shape: Shape) -> np.ndarray:
        """The mask whose groups are active where ``groups`` is True.

        Args:
            groups: bool array of the shape ``grid(shape)``.
            shape: kernel shape.

        Returns:
            Bool array of the kernel's shape.
        """

    @abc.abstractmethod
    def why_not(self, shape: Shape) -> str | None:
        """Why a kernel of this shape has no such groups, or None where it has."""

    def scores(self, values: np.ndarray) -> np.ndarray:
        """What groups are ranked by: sums over each group; means where groups differ in size.

        Both give groups of one size the same order. A sum would rank a group of few weights low,
        though it spends less of a budget of weights.
        """
        sums = self.to_groups(values)
        is_ragged = self.is_ragged(values.shape)
        return sums / self.group_sizes(values.shape) if is_ragged else sums

    def active_groups(self, mask: np.ndarray) -> np.ndarray:
        """Bool array of groups: True where at least one weight is active."""
        return self.to_groups(mask) > 0

    def whole(self, mask: np.ndarray) -> np.ndarray:
        """The smallest mask of whole groups that holds this one."""
        return self.from_groups(self.active_groups(mask), mask.shape)

    def check(self, name: str, shape: Shape) -> None:
        """Raises ValueError unless the kernel of this name is made of whole groups."""
        if (why := self.why_not(shape)) is not None:
            argument = str(self).partition("=")[0]
            raise ValueError(
                f"`{argument}` needs input and output channels, the last two axes of every masked "
                f"weight: {why}. Received: {self} for {name!r} of shape {shape}; "
                f"keep that weight dense with `dense=[{name!r}]`, or choose another structure"
            )

    def check_whole(self, name: str, mask: np.ndarray) -> None:
        """Raises ValueError where a group of this mask is active in part."""
        active = self.to_groups(mask)
        size = (self.group_sizes if self.is_ragged(mask.shape) else self.group_size)(mask.shape)
        partly = int(np.count_nonzero((active > 0) & (active < size)))
        if partly:
            raise ValueError(
                f"The mask of {name!r} is not made of whole blocks of {self}. "
                f"Received: {partly} of {active.size} blocks are active in part"
            )

    # --- as arguments, in configs and in messages

    @property
    def block_shape(self) -> BlockShape:
        """The short form: (in, out) channels of blocks over all taps; None for all others."""
        return None

    def get_config(self) -> dict[str, Any]:
        """{"kind": its name, argument: value}, for JSON; ``as_structure`` reads it."""
        return {"kind": self.kind}

    def as_arguments(self) -> dict[str, Any]:
        """``{"block_shape": short form}``; where it has none, its config as ``"structure"``."""
        return {"block_shape": None, "structure": self.get_config()}

    def __str__(self) -> str:
        """As it is given: ``block_shape=(4, 4)`` or ``structure=Blocks(4, 4, per_tap=True)``."""
        is_short = "structure" not in self.as_arguments()
        return f"block_shape={self.block_shape}" if is_short else f"structure={self!r}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash(tuple(self.get_config().items()))


@dataclasses.dataclass(frozen=True, eq=False)
class Weights(Structure):
    """Each weight for itself.

    >>> Weights().group_size((3, 3, 8, 8)), str(Weights())
    (1, 'block_shape=None')
    """

    kind = "weights"

    def grid(self, shape: Shape) -> Shape:
        return shape

    def group_size(self, shape: Shape) -> int:
        return 1

    def to_groups(self, values: np.ndarray) -> np.ndarray:
        """The values themselves, not a copy."""
        return values

    def from_groups(self, groups: np.ndarray, shape: Shape) -> np.ndarray:
        """The groups themselves, not a copy."""
        return groups

    def why_not(self, shape: Shape) -> str | None:
        return None

    def active_groups(self, mask: np.ndarray) -> np.ndarray:
        """The mask itself, not a copy."""
        return mask

    def whole(self, mask: np.ndarray) -> np.ndarray:
        """The mask itself, not a copy."""
        return mask

    def check_whole(self, name: str, mask: np.ndarray) -> None:
        """A weight has no parts."""

    def as_arguments(self) -> dict[str, Any]:
        return {"block_shape": None}


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
        if not (is_positive(self.in_) and is_positive(self.out)):
            raise ValueError(
                "`in_` and `out` must be positive integers, the channels of a block. "
                f"Received: in_={self.in_!r}, out={self.out!r}"
            )
        if not isinstance(self.per_tap, bool):
            raise ValueError(f"`per_tap` must be a bool. Received: per_tap={self.per_tap!r}")

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
        sums = blocks.sum(axis=(2, 4) if self.per_tap else (0, 2, 4))
        return np.asarray(sums.reshape(grid))

    def from_groups(self, groups: np.ndarray, shape: Shape) -> np.ndarray:
        mask = groups.repeat(self.in_, axis=-2).repeat(self.out, axis=-1)
        mask = mask[..., : shape[-2], : shape[-1]]
        return np.ascontiguousarray(mask) if self.per_tap else np.broadcast_to(mask, shape).copy()

    def why_not(self, shape: Shape) -> str | None:
        return f"it has {len(shape)} axes, fewer than two" if len(shape) < 2 else None

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


def is_positive(n: Any) -> bool:
    """Is this a number of channels: an integer above 0?"""
    return isinstance(n, int) and not isinstance(n, bool) and n > 0
