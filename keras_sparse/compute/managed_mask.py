"""ManagedMask: which optimizer masks a kernel, and what it asks of the kernel's layer."""

import math
import weakref
from typing import Any

from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure


class ManagedMask:
    """What a kernel's mask knows of the optimizer that masks the kernel, if one does.

    Args:
        structure: what the mask is made of.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        self._optimizer: Any = lambda: None

    def is_managed(self) -> bool:
        """Does an optimizer mask the kernel, and decide when the mask changes?"""
        return self._optimizer() is not None

    def was_managed(self) -> bool:
        """Has an optimizer ever masked the kernel?"""
        return isinstance(self._optimizer, weakref.ref)

    def belongs_to(self, optimizer: Any) -> None:
        """From now on this optimizer masks the kernel, as long as it lives."""
        self._optimizer = weakref.ref(optimizer)

    @property
    def growth_batch(self) -> float:
        """Share of a batch that missing weights take their gradients from: the optimizer's."""
        optimizer = self._optimizer()
        return 1.0 if optimizer is None else float(optimizer.growth_batch)

    @property
    def is_always_open(self) -> bool:
        """Do missing weights get gradients in every step, because the optimizer's rules say so?"""
        optimizer = self._optimizer()
        return optimizer is not None and math.isinf(optimizer.growth_window_steps())

    def take_structure(self, name: str, structure: Structure) -> None:
        """Takes the structure of the optimizer that masks the kernel of this name.

        Raises:
            ValueError: the mask has another structure than single weights or this one.
        """
        if self.structure not in (Weights(), structure):
            raise ValueError(
                "`block_shape` of the optimizer, or `structure`, must be that of the sparse "
                f"layers. Received: {structure}, and {self.structure} of the layer with the "
                f"kernel {name!r}"
            )
        self.structure = structure
