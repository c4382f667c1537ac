"""One masked weight of an optimizer: its variable, its mask, its momentum, what was ever active."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sparse._keras import mask_in_place, to_float32, to_numpy
from keras_sparse.compute.mask_state import KernelMask, kernel_mask_of
from keras_sparse.rules import mask_bits
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.structure import Structure
from keras_sparse.training.checkpoint import SavedMask
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.momentum import momentum_of


@dataclasses.dataclass(frozen=True)
class Signals:
    """What is kept of the gradients: the inner optimizer's momentum, and an average.

    The average stands for the momentum, or is the gradient of the last step.
    """

    inner_optimizer: keras.optimizers.Optimizer
    average: GradientAverage | None
    average_is_momentum: bool


class Counts(NamedTuple):
    """Weights that are active, and those that were ever active."""

    active: int
    ever: int


class MaskedWeight:
    """A weight that an optimizer masks, and all that belongs to it.

    Args:
        index: its place among the variables that the optimizer was built with.
        position: its place among the masked weights.
        variable: the weight.
        name: its path; the second weight of the same path is ``path#2``.
        mask_variable: bool variable of the weight's shape: the optimizer's, or the sparse layer's.
        structure: what the mask is made of.
        signals: what is kept of its gradients.
        cost_of: what one element of a variable costs of the budget.

    Attributes:
        explored_variable: int32 variable with one bit a weight: was it ever active?
    """

    def __init__(
        self,
        index: int,
        position: int,
        variable: Any,
        name: str,
        mask_variable: Any,
        structure: Structure,
        signals: Signals,
        cost_of: Callable[[Any], int],
    ) -> None:
        self.index, self.position, self.name = index, position, name
        self.variable, self.mask_variable = variable, mask_variable
        self.shape = tuple(variable.shape)
        self.structure = structure
        self._signals, self._cost_of = signals, cost_of
        words = (-(-mask_bits.number_of_bytes(self.shape) // 4),)
        self.explored_variable = keras.Variable(
            "zeros", words, "int32", trainable=False, name=f"explored_{index}"
        )

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def cost(self) -> int:
        """What one active weight costs of the budget: 1, or its multiply-adds for one example."""
        return self._cost_of(self.variable)

    @property
    def kernel_mask(self) -> KernelMask | None:
        """The mask state of the sparse layer whose kernel this weight is; None for other layers."""
        return kernel_mask_of(self.variable)

    @property
    def is_trained(self) -> bool:
        """Is the weight trainable?  A frozen one keeps its mask, and is left as it is."""
        return bool(self.variable.trainable)

    # --- to see

    @property
    def mask(self) -> np.ndarray:
        """Bool array of the weight's shape, a copy."""
        return to_numpy(self.mask_variable)

    @property
    def value(self) -> np.ndarray:
        """Float32 array of the weight's shape."""
        return to_float32(self.variable)

    def view(self, mask: np.ndarray | None = None) -> MaskedLayer:
        """The weight as scores and shares see it; its arrays are read when they ask.

        Args:
            mask: bool array to show in place of the weight's own mask.
        """
        average, is_momentum = self._signals.average, self._signals.average_is_momentum
        read_average = None if average is None else lambda: momentum_of(average, self.position)
        return MaskedLayer(
            self.variable.path,
            weight=lambda: self.value,
            mask=(lambda: self.mask) if mask is None else mask,
            momentum=read_average
            if is_momentum
            else lambda: momentum_of(self._signals.inner_optimizer, self.index),
            gradient=None if is_momentum else read_average,
            structure=self.structure,
            cost=self.cost,
        )

    # --- to replace

    def check(self, mask: np.ndarray) -> None:
        """Raises ValueError for another shape or dtype, no active weight, or a part of a group."""
        if mask.dtype != bool or mask.shape != self.shape or not mask.any():
            raise ValueError(
                f"A mask must be bool, of the weight's shape {self.shape}, with an active weight. "
                f"Received: {self.name!r} of dtype {mask.dtype}, shape {mask.shape}, "
                f"{np.count_nonzero(mask)} active"
            )
        self.structure.check_mask(self.name, mask)

    def assign(self, mask: np.ndarray, keep_explored: bool) -> None:
        """Replaces the mask, also the sparse layer's, and leaves the weight.

        Args:
            mask: bool array of the weight's shape.
            keep_explored: True: what was active before stays explored.
        """
        bits = mask_bits.pack(mask)
        if keep_explored and to_numpy(self.explored_variable).any():
            bits |= self.explored_bits()
        self.assign_explored(bits)
        kernel_mask = self.kernel_mask
        if kernel_mask is None or kernel_mask.mask is not self.mask_variable:
            self.mask_variable.assign(mask)
        if kernel_mask is not None:
            kernel_mask.assign(mask)

    # --- what was ever active

    def explored_bits(self) -> np.ndarray:
        """One bit a weight; those of the mask where a checkpoint brought masks without them."""
        return self._ever_active(mask_bits.pack(self.mask))

    def _ever_active(self, mask: np.ndarray) -> np.ndarray:
        bits = mask_bits.from_words(to_numpy(self.explored_variable), len(mask))
        return mask if (mask & ~bits).any() else bits

    def assign_explored(self, bits: np.ndarray) -> None:
        self.explored_variable.assign(mask_bits.to_words(bits))

    def counts(self) -> Counts:
        """Weights that are active, and those that were ever active; the mask is read once."""
        mask = mask_bits.pack(self.mask)
        both = mask, self._ever_active(mask)
        return Counts(*(int(np.unpackbits(bits).sum(dtype=np.int64)) for bits in both))

    # --- in files

    def saved(self) -> SavedMask:
        """What a file holds of it."""
        return SavedMask(self.index, self.variable.path, self.mask, self.explored_bits())

    def load(self, saved: SavedMask) -> None:
        """Takes the mask of a file and leaves the weight."""
        self.assign(saved.mask, keep_explored=False)
        if saved.explored is not None:
            self.assign_explored(mask_bits.pack(saved.mask) | saved.explored)


def apply_masks(weights: Sequence[MaskedWeight]) -> None:
    """Sets missing weights to 0, all of them at once, on every replica."""
    mask_in_place([one.variable for one in weights], [one.mask_variable for one in weights])
