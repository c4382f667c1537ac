"""An optimizer holds the masks as variables: weights hold the zeros, gradients stay dense.

Frozen weights (``trainable = False``) keep their masks and are left as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import (
    has_value,
    optimizer_steps_are_stateless,
    to_numpy,
    track_list,
    untrack,
    variables_of,
)
from keras_sparse.compute.mask_owner import MaskOwner
from keras_sparse.compute.mask_state import KernelMask, kernel_mask_of
from keras_sparse.rules.given_masks import unique_names
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.training import masked_weight
from keras_sparse.training.masked_weight import MaskedWeight, Signals
from keras_sparse.training.momentum import GradientAverage
from keras_sparse.training.wrapper import OptimizerWrapper

Masks = Sequence[np.ndarray]
Weights = Sequence[MaskedWeight]


class MaskHolder(MaskOwner, OptimizerWrapper):
    """Masks that can be seen and replaced; the mask of a sparse layer's kernel is the layer's own.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        structure: what masks are made of.
        gradient_average: keeps what momentum the inner optimizer does not, or None.
        name: name of this optimizer.

    Attributes:
        masked_weights: a MaskedWeight for each weight that has a mask, once the masks are made.
        awaiting: indices of weights whose first masks need a batch of data.
        begins_anew: True: a file of a run that had not begun was loaded, and no masks since: the
            first masks are those of its weights.
    """

    gradient_momentum: float | None = None  # not None: the average stands for the momentum

    def __init__(
        self,
        inner_optimizer: Any,
        structure: Structure,
        gradient_average: GradientAverage | None,
        name: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, name=name)
        self.structure = structure
        self._gradient_average = gradient_average
        self.masked_weights: list[MaskedWeight] = []
        self.awaiting: list[int] = []
        self.begins_anew = False
        track_list(self, "mask_variables", [])

    # --- their variables

    def hold_masks_of(self, indices: Sequence[int]) -> None:
        """Replaces the masked weights by these of the trained variables, with empty masks.

        A sparse layer's mask is taken as it is.
        """
        for mask in self.mask_variables:
            untrack(self, mask)
        variables = [variables_of(self)[i] for i in indices]
        for variable in variables:
            if (kernel_mask := kernel_mask_of(variable)) is not None:
                kernel_mask.take_structure(variable.path, self.structure)
                kernel_mask.belongs_to(self)
        masks = [self._mask_variable(variable) for variable in variables]
        track_list(self, "mask_variables", masks)
        self._build_average(variables)
        is_momentum = self.gradient_momentum is not None
        signals = Signals(self.inner_optimizer, self._gradient_average, is_momentum)
        names = unique_names([variable.path for variable in variables])
        self.masked_weights = [
            MaskedWeight(index, position, variable, name, mask, self.structure, signals)
            for position, (index, variable, name, mask) in enumerate(
                zip(indices, variables, names, masks, strict=True)
            )
        ]
        self.awaiting = []

    def _mask_variable(self, variable: Any) -> Any:
        kernel_mask = kernel_mask_of(variable)
        if kernel_mask is not None and not optimizer_steps_are_stateless():
            return kernel_mask.mask  # one mask, which the layer owns
        name = f"{variable.path.replace('/', '_')}_mask"
        return self.add_variable(variable.shape, dtype="bool", name=name)

    def _build_average(self, variables: list[Any]) -> None:
        """Builds the average for these weights; a new one, where it is that of others."""
        average, ids = self._gradient_average, list(map(id, variables))
        if average is None:
            return
        if average.built and list(map(id, variables_of(average))) != ids:
            average = self._gradient_average = GradientAverage(average.decay)
        if variables:
            average.build(variables)

    def _kernel_masks(self) -> list[KernelMask]:
        """Those of the masked weights that are kernels of sparse layers."""
        found = (one.kernel_mask for one in self.masked_weights)
        return [kernel_mask for kernel_mask in found if kernel_mask is not None]

    def _fill_dense_layers(self) -> None:
        """Makes sparse layers dense that are trained without a mask of this optimizer."""
        masked = {one.index for one in self.masked_weights}
        for i, variable in enumerate(variables_of(self)):
            kernel_mask = kernel_mask_of(variable)
            if kernel_mask is not None and i not in masked and variable.trainable:
                kernel_mask.belongs_to(self)
                if kernel_mask.density() < 1:
                    kernel_mask.assign(np.ones(kernel_mask.shape, bool))

    @property
    def mask_variables(self) -> list[Any]:
        """The bool variable of each masked weight, in the order of ``masks``."""
        return [one.mask_variable for one in self.masked_weights]

    @property
    def masked_indices(self) -> list[int]:
        """The place of each masked weight among the variables the optimizer was built with."""
        return [one.index for one in self.masked_weights]

    @property
    def variables(self) -> list[Any]:
        average = self._gradient_average
        return super().variables + ([] if average is None else average.variables)

    # --- to see

    @property
    def block_shape(self) -> BlockShape:
        """(in, out) channels of the masks' blocks over all taps; None: any other ``structure``."""
        return self.structure.block_shape

    @property
    def masked_variables(self) -> list[Any]:
        """The weights that have a mask, in the order of ``masks``."""
        return [one.variable for one in self.masked_weights]

    @property
    def masked_names(self) -> list[str]:
        """Paths of these weights; the second weight of the same path is ``path#2``."""
        return [one.name for one in self.masked_weights]

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """{path of the weight: bool array of its shape}, copies; see ``masked_names``."""
        return {one.name: one.mask for one in self.masked_weights}

    def trained_weights(self) -> list[MaskedWeight]:
        """The masked weights that are trainable now: mask updates leave the frozen ones."""
        return [one for one in self.masked_weights if one.is_trained]

    def total_density(self) -> float:
        """Active / all masked weights, frozen ones included; 1.0 where no weight is masked."""
        active = sum(int(np.count_nonzero(one.mask)) for one in self.masked_weights)
        return active / sum(one.size for one in self.masked_weights) if self.masked_weights else 1.0

    # --- to replace

    def set_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Replaces masks and masks the weights.

        Args:
            masks: {path: bool array of the weight's shape}; weights that are not named keep theirs.

        Raises:
            ValueError: unknown path, other shape or dtype, no active weight, blocks that are not
                whole. Nothing is changed then.
        """
        if self.begins_anew:
            self.begin_anew()
        masks = {path: np.asarray(mask) for path, mask in masks.items()}
        for path in masks:
            if path not in self.masked_names:
                received = f"{path!r}; masked are {self.masked_names}"
                raise ValueError(f"`masks` names a weight that has no mask. Received: {received}")
        weights = [one for one in self.masked_weights if one.name in masks]
        self._check_masks(weights, [masks[one.name] for one in weights])
        self.put_masks([masks[one.name] for one in weights], weights)
        masked_weight.apply_masks(weights)

    def _check_masks(self, weights: Weights, masks: Masks) -> None:
        """Raises ValueError for another shape or dtype, no active weight, or a part of a block."""
        for one, mask in zip(weights, masks, strict=True):
            if mask.dtype != bool or mask.shape != one.shape or not mask.any():
                raise ValueError(
                    f"A mask must be bool, of the weight's shape {one.shape}, with an active "
                    f"weight. Received: {one.name!r} of dtype {mask.dtype}, shape {mask.shape}, "
                    f"{np.count_nonzero(mask)} active"
                )
            self.structure.check_whole(one.name, mask)

    def assign_masks(self, masks: Masks, weights: Weights | None = None) -> None:
        """Replaces masks at once, and masks the weights that are trainable.

        Args:
            masks: bool arrays.
            weights: the masked weights they belong to; None: all, in order.
        """
        self.put_masks(masks, weights)
        if all(map(has_value, self.masked_variables)):  # else the step that makes them masks them
            self.apply_masks()

    def put_masks(self, masks: Masks, weights: Weights | None = None) -> None:
        """Replaces masks, the optimizer's and the layers', and leaves the weights.

        See ``assign_masks``.
        """
        self.begins_anew = False
        weights = self.masked_weights if weights is None else weights
        keep_explored = self.has_trained()
        for one, mask in zip(weights, masks, strict=True):
            one.assign(mask, keep_explored)

    def begin_anew(self) -> None:
        """Makes the first masks again, see ``begins_anew``."""
        raise NotImplementedError

    def has_trained(self) -> bool:
        """Was a step made?  What is active before any step does not count as explored."""
        return self.step() > 0

    def step(self) -> int:
        """Optimizer steps made so far.

        Micro-batches of an accumulated gradient and skipped steps do not count.
        """
        return int(to_numpy(self.iterations))

    def apply_masks(self) -> None:
        """weight <- weight * mask, for every masked weight that is trainable, on every replica."""
        masked_weight.apply_masks(self.trained_weights())
