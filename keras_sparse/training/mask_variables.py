"""The variables of masks: made for chosen weights, taken from sparse layers, and saved."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import (
    calling_model,
    optimizer_steps_are_stateless,
    track_list,
    untrack,
    variables_of,
)
from keras_sparse.compute.mask_owner import MaskOwner
from keras_sparse.compute.mask_state import KernelMask, kernel_mask_of
from keras_sparse.rules.given_masks import unique_names
from keras_sparse.rules.structure import Structure
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.mask_watchers import MaskWatchers
from keras_sparse.training.masked_weight import MaskedWeight, Signals
from keras_sparse.training.weight_costs import WeightCosts
from keras_sparse.training.wrapper import OptimizerWrapper


class MaskVariables(MaskOwner, OptimizerWrapper):
    """Holds a MaskedWeight for each chosen weight; the mask of a sparse layer is the layer's own.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        structure: what masks are made of.
        gradient_average: keeps what momentum the inner optimizer does not, or None.
        name: name of this optimizer.

    Attributes:
        masked_weights: a MaskedWeight for each weight that has a mask, once the masks are made.
        watchers: look on when an update, or ``set_masks``, changes the masks.
        awaiting: indices of weights whose first masks need a batch of data.
        begins_anew: True: no masks were made since Keras compiled the model from a config, or since
            a file of a run was loaded that had not begun. The first masks are those of the weights
            that the model has by then.
    """

    gradient_momentum: float | None = None  # not None: the average stands for the momentum
    budget = "weights"  # or "multiply_adds": what a density is a share of

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
        self._model: Any = lambda: None
        self._costs = WeightCosts()
        self.watchers = MaskWatchers()
        self.masked_weights: list[MaskedWeight] = []
        self.awaiting: list[int] = []
        self.begins_anew = False
        track_list(self, "mask_variables", [])

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
            MaskedWeight(
                index, position, variable, name, mask, self.structure, signals, self.cost_of
            )
            for position, (index, variable, name, mask) in enumerate(
                zip(indices, variables, names, masks, strict=True)
            )
        ]
        self.awaiting = []

    def cost_of(self, variable: Any) -> int:
        """What one element of this weight costs of the budget: 1, or its multiply-adds.

        Raises:
            ValueError: the budget is in multiply-adds, and these are unknown.
        """
        if self.budget == "weights":
            return 1
        return self._costs.of(variable, self._model() or calling_model(variables_of(self)))

    def costs_of(self, variables: Sequence[Any]) -> list[int] | None:
        """The costs of these weights; None: the budget is in weights."""
        return None if self.budget == "weights" else [self.cost_of(v) for v in variables]

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
