"""An optimizer holds the masks as variables: weights hold the zeros, gradients stay dense.

Frozen weights (``trainable = False``) keep their masks and are left as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import (
    has_value,
    multiply_in_place,
    steps_see_only_their_own_state,
    to_numpy,
)
from keras_sparse.compute.mask_owner import MaskOwner
from keras_sparse.compute.mask_state import KernelMask, kernel_mask_of
from keras_sparse.rules import blocks
from keras_sparse.rules.given_masks import unique_names
from keras_sparse.training.momentum import GradientAverage
from keras_sparse.training.wrapper import OptimizerWrapper

Masks = Sequence[np.ndarray]


class MaskHolder(MaskOwner, OptimizerWrapper):
    """Masks that can be seen and replaced; the mask of a sparse layer's kernel is the layer's own.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        block_shape: (in, out) channels of a block, or None.
        gradient_average: keeps what momentum the inner optimizer does not, or None.
        name: of this optimizer.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        block_shape: Any,
        gradient_average: GradientAverage | None,
        name: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, name=name)
        self.block_shape = blocks.check_block_shape(block_shape)
        self._gradient_average = gradient_average
        self.masked_indices: list[int] = []
        self.mask_variables: list[Any] = []
        self.awaiting: list[int] = []  # indices of weights whose first masks need a batch of data

    # --- their variables

    def make_mask_variables(self, indices: Sequence[int]) -> None:
        """Replaces the mask variables by empty ones for these trainable variables.

        A sparse layer's mask is taken as it is.
        """
        for mask in self._own_masks():
            self._untrack_variable(mask)
        variables = [self._trainable_variables[i] for i in indices]
        for variable in variables:
            if (kernel_mask := kernel_mask_of(variable)) is not None:
                kernel_mask.take_block_shape(variable.path, self.block_shape)
                kernel_mask.belongs_to(self)
        self.mask_variables = [self._mask_variable(variable) for variable in variables]
        self.masked_indices, self.awaiting = list(indices), []
        self._build_average(variables)

    def _mask_variable(self, variable: Any) -> Any:
        kernel_mask = kernel_mask_of(variable)
        if kernel_mask is not None and not steps_see_only_their_own_state():
            return kernel_mask.mask  # one mask, which the layer owns
        name = f"{variable.path.replace('/', '_')}_mask"
        return self.add_variable(variable.shape, dtype="bool", name=name)

    def _build_average(self, variables: list[Any]) -> None:
        """Of the gradients of these weights; a new one, where it is that of others."""
        average, ids = self._gradient_average, list(map(id, variables))
        if average is None:
            return
        if average.built and list(map(id, average._trainable_variables)) != ids:
            average = self._gradient_average = GradientAverage(average.decay)
        if variables:
            average.build(variables)

    def _own_masks(self) -> list[Any]:
        own = set(map(id, self._variables))
        return [mask for mask in self.mask_variables if id(mask) in own]

    def _kernel_masks(self) -> list[KernelMask]:
        """Those of the masked weights that are kernels of sparse layers."""
        found = map(kernel_mask_of, self.masked_variables)
        return [kernel_mask for kernel_mask in found if kernel_mask is not None]

    def _fill_dense_layers(self) -> None:
        """Makes sparse layers dense that are trained without a mask of this optimizer."""
        masked = set(self.masked_indices)
        for i, variable in enumerate(self._trainable_variables):
            kernel_mask = kernel_mask_of(variable)
            if kernel_mask is not None and i not in masked and variable.trainable:
                kernel_mask.belongs_to(self)
                if kernel_mask.density() < 1:
                    kernel_mask.assign(np.ones(kernel_mask.shape, bool))

    @property
    def variables(self) -> list[Any]:
        own = set(map(id, self._variables))
        of_layers = [mask for mask in self.mask_variables if id(mask) not in own]
        extra = [] if self._gradient_average is None else self._gradient_average.variables
        return super().variables + of_layers + extra

    # --- to see

    @property
    def masked_variables(self) -> list[Any]:
        """The weights that have a mask, in the order of ``masks``."""
        return [self._trainable_variables[i] for i in self.masked_indices]

    @property
    def masked_names(self) -> list[str]:
        """Paths of these weights.

        Where Keras gives several weights one path, the second is ``path#2``, and so on.
        """
        return unique_names([variable.path for variable in self.masked_variables])

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """{path of the weight: bool array of its shape}, copies; see ``masked_names`` for paths."""
        values = map(to_numpy, self.mask_variables)
        return dict(zip(self.masked_names, values, strict=True))

    def trained_positions(self) -> list[int]:
        """Places, in ``masks``, of the weights that are trainable now.

        Mask updates leave the others, which are frozen.
        """
        return [i for i, variable in enumerate(self.masked_variables) if variable.trainable]

    def total_density(self) -> float:
        """Active / all masked weights, frozen ones included; 1.0 where no weight is masked."""
        masks = [to_numpy(mask) for mask in self.mask_variables]
        active = sum(int(np.count_nonzero(mask)) for mask in masks)
        return active / sum(mask.size for mask in masks) if masks else 1.0

    # --- to replace

    def set_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Replaces masks and masks the weights.

        Args:
            masks: {path: bool array of the weight's shape}; weights that are not named keep theirs.

        Raises:
            ValueError: unknown path, other shape or dtype, no active weight, blocks that are not
                whole. Nothing is changed then.
        """
        current = self.masks
        masks = {path: np.asarray(mask) for path, mask in masks.items()}
        for path in masks:
            if path not in current:
                received = f"{path!r}; masked are {list(current)}"
                raise ValueError(f"`masks` names a weight that has no mask. Received: {received}")
        self._check_masks(masks)
        positions = [position for position, path in enumerate(current) if path in masks]
        self.put_masks([masks[path] for path in current if path in masks], positions)
        self._multiply({self.masked_indices[position] for position in positions})

    def _check_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Raises ValueError for another shape or dtype, no active weight, or a part of a block."""
        shapes = [tuple(variable.shape) for variable in self.masked_variables]
        shape_of = dict(zip(self.masked_names, shapes, strict=True))
        for path, mask in masks.items():
            if mask.dtype != bool or mask.shape != shape_of[path] or not mask.any():
                raise ValueError(
                    f"A mask must be bool, of the weight's shape {shape_of[path]}, with an active "
                    f"weight. Received: {path!r} of dtype {mask.dtype}, shape {mask.shape}, "
                    f"{np.count_nonzero(mask)} active"
                )
            blocks.check_whole(path, mask, self.block_shape)

    def assign_masks(self, masks: Masks, positions: Sequence[int] | None = None) -> None:
        """Replaces masks at once, and masks the weights that are trainable.

        Args:
            masks: bool arrays.
            positions: their places in ``masks``; None: all, in order.
        """
        self.put_masks(masks, positions)
        if all(map(has_value, self.masked_variables)):  # else the step that makes them masks them
            self.apply_masks()

    def put_masks(self, masks: Masks, positions: Sequence[int] | None = None) -> None:
        """Replaces masks at once, the optimizer's and the layers', and leaves the weights.

        See ``assign_masks``.
        """
        positions = range(len(self.mask_variables)) if positions is None else positions
        weights = self.masked_variables
        for position, mask in zip(positions, masks, strict=True):
            variable, kernel_mask = self.mask_variables[position], kernel_mask_of(weights[position])
            if kernel_mask is None or kernel_mask.mask is not variable:
                variable.assign(mask)
            if kernel_mask is not None:
                kernel_mask.assign(mask)

    def apply_masks(self) -> None:
        """weight <- weight * mask, for every masked weight that is trainable, on every replica."""
        self._multiply({self.masked_indices[position] for position in self.trained_positions()})

    def _multiply(self, indices: set[int]) -> None:
        held = zip(self.masked_indices, self.mask_variables, strict=True)
        pairs = [(self._trainable_variables[i], mask) for i, mask in held if i in indices]
        multiply_in_place([weight for weight, _ in pairs], [mask for _, mask in pairs])
