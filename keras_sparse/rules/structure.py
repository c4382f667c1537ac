"""A structure says which weights of a mask are active or missing together (NumPy only).

It divides a kernel (taps..., in, out) into groups. Rules count, prune and grow whole groups. All
groups of a kernel have one size, but those at an edge where blocks do not divide the channels: they
hold the channels that are left. Arguments give a structure as ``structure``, or by its short form
``block_shape``.
"""

import abc
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from keras_sparse.rules.density import Shape
from keras_sparse.rules.received import received

BlockShape = tuple[int, int] | None


class Structure(abc.ABC):
    """What a mask is made of: groups of weights. Structures of equal config are equal.

    A kernel's groups have an array of their own, the grid, with one value for each group.
    """

    kind: ClassVar[str]  # its name in a config

    @property
    def largest_density(self) -> float:
        """Of any mask."""
        return 1.0

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

    def most_groups(self, shape: Shape) -> int:
        """Groups of a kernel of this shape that may be active at a time."""
        return math.prod(self.grid(shape))

    def most_weights(self, shape: Shape) -> int:
        """Weights of a kernel of this shape that may be active at a time."""
        return math.prod(shape)

    def eligible(
        self, scores: np.ndarray, among: np.ndarray, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """The candidates that may all be active at a time: the best, as far as not all may.

        Args:
            scores: of the groups, ``grid(shape)``.
            among: bool array of the candidates.
            kept: bool array of the groups that stay active beside them; None: none.
        """
        return among

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

    def why_not(self, shape: Shape) -> str | None:
        """Why a kernel of this shape has no such groups, or None where it has."""
        return f"it has {len(shape)} axes, fewer than two" if len(shape) < 2 else None

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

    def check_mask(self, name: str, mask: np.ndarray) -> None:
        """Raises ValueError unless this mask has the structure."""
        self.check_whole(name, mask)

    def check_density(self, density: float, distribution: Any = "uniform") -> None:
        """Raises ValueError for a density, or one in a map of them, that no mask has."""
        if self.largest_density >= 1:
            return
        given = {"density": density}
        if isinstance(distribution, Mapping):
            given |= {f"distribution[{name!r}]": value for name, value in distribution.items()}
        for name, value in given.items():
            if value > self.largest_density:
                raise ValueError(
                    f"`{name}` must be at most {self.largest_density:.6g} with {self}: no mask is "
                    f"denser. {received(**{name: value})}"
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
