"""Each optimizer step is the inner optimizer's, on dense gradients; then weights are masked again.

While the growth window is closed, sparse layers save the gradients of missing weights.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from keras_sparse._keras import eager_scope, steps_see_only_their_own_state, to_numpy
from keras_sparse.training.explored_masks import ExploredMasks
from keras_sparse.training.fused_sgd import fuse_momentum
from keras_sparse.training.momentum import GradientAverage
from keras_sparse.training.selection import Selection


class MaskedSteps(ExploredMasks):
    """Steps with masks, and what is counted of them; arguments as for MaskedOptimizer."""

    growth_window_open: Any  # a bool variable, made when the optimizer is built

    def __init__(
        self,
        inner_optimizer: Any,
        selection: Selection,
        block_shape: Any,
        gradient_average: GradientAverage | None,
        name: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, block_shape, gradient_average, name)
        fuse_momentum(self.inner_optimizer, self._take_mask)
        self.selection = selection
        self._model: Any = lambda: None
        self.counters: dict[str, Any] = {}
        # while a step is made: indices of the weights that the inner optimizer masks
        self._taken_masks: set[int] | None = None
        # for the first step to say; a file that is loaded before may settle it
        self._notice: str | None = None
        self._doubt: Exception | None = None  # about the selection, as long as no model is known
        self._scale_is_due = False  # masks were drawn over weights of a model that is not known

    def grows_by_gradients(self) -> bool:
        """Do the rules look at gradients of missing weights?"""
        return True

    # --- a step

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        grads = list(grads)
        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
        if not grads or not self.built:
            # does nothing, or says what is missing
            self.inner_optimizer.apply(grads, trainable_variables)
            return
        self._check_ready()
        variables = self._trainable_variables
        if trainable_variables is not None:
            variables = list(trainable_variables)
        self._check_known(variables)
        taken = self._apply_inner(grads, trainable_variables)
        index_of = self._get_variable_index
        if self._gradient_average is not None:
            all_pairs = zip(grads, variables, strict=True)
            pairs = [(g, v) for g, v in all_pairs if index_of(v) in self.masked_indices]
            self._gradient_average.apply([g for g, _ in pairs], [v for _, v in pairs])
        changed = {index_of(variable) for variable in variables}
        if _keeps_averages_of_weights(self.inner_optimizer):  # and may write them into any weight
            changed |= set(self.masked_indices)
        self._multiply(set(self.masked_indices) & changed - taken)

    def _check_ready(self) -> None:
        """Says, in the first step, what is missing or will be otherwise than asked for."""
        if not self.mask_variables and self.selection.needs_model and self._model() is None:
            raise ValueError(
                "`dense` or `sparse` name layer types and the model is not known. Call "
                "`optimizer.build(model)` first, or train with the UpdateMasks callback. "
                f"Received: {self.selection}"
            )
        if self.awaiting:
            raise ValueError(SNIP_WITHOUT_BATCH)
        if self._doubt is not None:
            raise self._doubt
        if self._scale_is_due:
            self._warn_of_scale()
        if self._notice is not None:
            notice, self._notice = self._notice, None
            warnings.warn(notice, stacklevel=2)

    def _warn_of_scale(self) -> None:
        self._scale_is_due = False  # say it once
        with eager_scope():
            if steps_see_only_their_own_state() or self.step() == 0:
                warnings.warn(SCALE_OF_UNKNOWN_MODEL, stacklevel=3)

    def _check_known(self, variables: Sequence[Any]) -> None:
        known = self._trainable_variables_indices
        unknown = [v.path for v in variables if self._var_key(v) not in known]
        if unknown:
            raise ValueError(
                "The model has trainable weights that it had not when the optimizer was built: "
                "layers were built or unfrozen since. Build all layers first, by a call of the "
                "model; or compile with a new SparseMomentum, with "
                'initial_masks="nonzero" to keep the masks there are. '
                f"Received: unknown variables {unknown}"
            )

    def _apply_inner(self, grads: list[Any], trainable_variables: Any) -> set[int]:
        """A step of the inner optimizer; the indices of the weights that it masked."""
        self._taken_masks = set()
        try:
            self.inner_optimizer.apply(grads, trainable_variables)
            # None where another replica was first: under a strategy none are taken
            return set(self._taken_masks or ())
        finally:
            self._taken_masks = None

    def _take_mask(self, variable: Any) -> Any:
        """The mask of a weight, for a step that applies it.

        None if it has none, or the inner optimizer runs on its own.
        """
        index = self._get_variable_index(variable)
        if self._taken_masks is None or index not in self.masked_indices:
            return None
        self._taken_masks.add(index)
        return self.mask_variables[self.masked_indices.index(index)]

    def finalize_variable_values(self, var_list: Any) -> None:
        frozen = [variable for variable in self._trainable_variables if not variable.trainable]
        if frozen and _keeps_averages_of_weights(self.inner_optimizer):
            values = [to_numpy(variable) for variable in frozen]
            # the averages are those of all, in order
            super().finalize_variable_values(self._trainable_variables)
            for variable, value in zip(frozen, values, strict=True):
                variable.assign(value)
        else:
            super().finalize_variable_values(var_list)
        self.apply_masks()  # averaged weights (use_ema) are dense

    # --- counters

    def step(self) -> int:
        """Optimizer steps made so far.

        Micro-batches of an accumulated gradient and skipped steps do not count.
        """
        return int(to_numpy(self.iterations))

    def counter(self, name: str) -> int:
        """A saved counter, one of COUNTERS."""
        return int(to_numpy(self.counters[name]))

    def set_counter(self, name: str, value: int) -> None:
        self.counters[name].assign(value)

    # --- the growth window

    def open_growth_window(self, is_open: bool) -> None:
        """Says whether missing weights get gradients from the next step on, in every sparse layer.

        The UpdateMasks callback does it in ``fit``. In a custom loop the window is open until you
        close it; call it between steps, outside of ``tf.function``. Other layers compute dense
        gradients always.

        Args:
            is_open: True: the weight gradient is dense; False: missing weights get none, and what
                their momentum remembers fades. In ``fit`` the stock operation's gradient is dense
                all the same: it costs nothing more.
        """
        if bool(to_numpy(self.growth_window_open)) != is_open:
            self.growth_window_open.assign(is_open)
        if (self.counter("window_opened") >= 0) != is_open:
            self.set_counter("window_opened", self.step() if is_open else -1)
        for kernel_mask in self._kernel_masks():
            kernel_mask.want_dense_weight_gradient(is_open)

    def window_opened(self) -> int:
        """The step since which there is something to grow by.

        -1: there is nothing, the window is closed.
        """
        if not self.grows_by_gradients() or not self._kernel_masks():
            return 0
        return self.counter("window_opened")

    def can_grow(self) -> bool:
        """Is there anything to grow by?

        No, where a rule reads gradients and sparse layers compute none of missing weights.
        """
        return self.window_opened() >= 0


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
    "normalisation may not learn: the optimizer does not know the model, whose layers say how "
    "weights were initialized. Call `optimizer.build(model)` before training, or "
    "pass `initial_scale=None`. Received: an optimizer built from variables"
)
