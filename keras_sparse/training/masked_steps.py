"""Each optimizer step is the inner optimizer's, then weights are masked again."""

import warnings
from collections.abc import Sequence
from typing import Any

from keras_sparse._keras import (
    eager_scope,
    index_of,
    optimizer_steps_are_stateless,
    to_numpy,
    variables_of,
)
from keras_sparse.rules.structure import Structure
from keras_sparse.training.fused_steps import fused_steps
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.masked_constraints import constraints_of_active
from keras_sparse.training.masked_weight import MaskedWeight, apply_masks
from keras_sparse.training.open_window import OpenWindow
from keras_sparse.training.selection import Selection
from keras_sparse.training.update_watch import warn_of_dense_step


class MaskedSteps(OpenWindow):
    """Steps with masks; arguments as for MaskedOptimizer."""

    initial_scale: str | None = None  # "auto": untrained weights are to be scaled

    def __init__(
        self,
        inner_optimizer: Any,
        selection: Selection,
        structure: Structure,
        gradient_average: GradientAverage | None,
        name: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, structure, gradient_average, name)
        self.selection = selection
        # for the first step to say; a file that is loaded before may settle it
        self._notice: str | None = None
        self._doubt: Exception | None = None  # about the selection, as long as no model is known
        self._look_is_due = False  # masks were drawn over weights of a model that is not known

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
            if self.masked_weights:
                warn_of_dense_step()
        if not grads or not self.built:
            # does nothing, or says what is missing
            self.inner_optimizer.apply(grads, trainable_variables)
            return
        self._check_ready()
        variables = variables_of(self)
        if trainable_variables is not None:
            variables = list(trainable_variables)
        self._check_known(variables)
        try:
            self._step(grads, variables, trainable_variables)
        except KeyboardInterrupt:  # an eager step may have stopped before it masked the weights
            apply_masks(self.trained_weights())
            raise

    def _step(self, grads: list[Any], variables: list[Any], given: Any) -> None:
        """The inner optimizer's step; then missing weights are 0."""
        fused = fused_steps(self.inner_optimizer, self._mask_for_fused_step)
        with constraints_of_active(self.masked_weights), fused as masked_by_inner:
            self.inner_optimizer.apply(grads, given)
        gradient_of = {index_of(self, v): g for v, g in zip(variables, grads, strict=True)}
        stepped = [one for one in self.masked_weights if one.index in gradient_of]
        if self._gradient_average is not None:
            gradients = [gradient_of[one.index] for one in stepped]
            self._gradient_average.apply(gradients, [one.variable for one in stepped])
        # averages of weights may be written into any weight
        averages = _keeps_averages_of_weights(self.inner_optimizer)
        changed = self.masked_weights if averages else stepped
        apply_masks([one for one in changed if one not in masked_by_inner])

    def _mask_for_fused_step(self, variable: Any) -> MaskedWeight | None:
        """The masked weight of a variable, for a step that masks it; None if it has no mask."""
        index = index_of(self, variable)
        return next((one for one in self.masked_weights if one.index == index), None)

    def _check_ready(self) -> None:
        """Says, in the first step, what is missing or will be otherwise than asked for."""
        if self.begins_anew and not optimizer_steps_are_stateless():
            with eager_scope():
                self.begin_anew()
        if self.awaiting:
            raise ValueError(SNIP_WITHOUT_BATCH)
        if self._doubt is not None:
            raise self._doubt
        if self._look_is_due:
            self._warn_of_scale()
        if self._notice is not None:
            notice, self._notice = self._notice, None
            warnings.warn(notice, stacklevel=2)

    def _warn_of_scale(self) -> None:
        self._look_is_due = False  # say it once
        if self.initial_scale is None:
            return
        with eager_scope():
            if optimizer_steps_are_stateless() or self.step() == 0:
                warnings.warn(SCALE_OF_UNKNOWN_MODEL, stacklevel=3)

    def _check_known(self, variables: Sequence[Any]) -> None:
        unknown = [v.path for v in variables if index_of(self, v) is None]
        if unknown:
            raise ValueError(
                "The model has trainable weights that the optimizer was not built for. Layers were "
                "built or unfrozen since, or the optimizer was built for another model. Each model "
                "needs an optimizer of its own. Build all layers first, by a call of the model; or "
                "compile with a new SparseMomentum, with "
                'initial_masks="nonzero" to keep the masks that it has. '
                f"Received: unknown variables {unknown}"
            )

    def finalize_variable_values(self, var_list: Any) -> None:
        frozen = [variable for variable in variables_of(self) if not variable.trainable]
        if frozen and _keeps_averages_of_weights(self.inner_optimizer):
            values = [to_numpy(variable) for variable in frozen]
            # the averages are those of all, in order
            super().finalize_variable_values(variables_of(self))
            for variable, value in zip(frozen, values, strict=True):
                variable.assign(value)
        else:
            super().finalize_variable_values(var_list)
        self.apply_masks()  # averaged weights (use_ema) are dense


def _keeps_averages_of_weights(optimizer: Any) -> bool:
    """Does this optimizer, or a part of it, write averaged weights into the model?"""
    return any(part.use_ema for part in [optimizer, *getattr(optimizer, "optimizers", ())])


SNIP_WITHOUT_BATCH = (
    '`initial_masks="snip"` needs a batch of data, and has seen none: train by `fit` with the '
    "callback UpdateMasks, the model built before; or make the masks yourself, "
    "`initial_masks=keras_sparse.snip_masks(model, x, y, density)`. "
    "Received: a step without masks"
)
SCALE_OF_UNKNOWN_MODEL = (
    "The masked weights keep the scale of dense ones, with which deep networks without "
    "normalization may not learn: the optimizer does not know the model, whose layers say how "
    "weights were initialized. Call `optimizer.build(model)` before training, or "
    "pass `initial_scale=None`. Received: an optimizer built from variables"
)
