"""Weights: each weight of a mask is active or missing for itself (NumPy only)."""

import dataclasses
from typing import Any

import numpy as np

from keras_sparse.rules.density import Shape
from keras_sparse.rules.structure import Structure


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
