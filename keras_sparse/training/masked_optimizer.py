"""An optimizer learns which weights it trains, and makes their first masks when it is built.

What changes the masks comes on top.
"""

import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import calling_model, eager_scope, variables_of
from keras_sparse.rules.given_masks import GivenMasks, check_given, unique_names
from keras_sparse.rules.initial_masks import Kind, check_kind
from keras_sparse.rules.initial_scale import check_initial_scale
from keras_sparse.rules.structure import Structure
from keras_sparse.training import checkpoint
from keras_sparse.training.first_masks import (
    RANDOM_OVER_TRAINED,
    check_readable,
    competing_counts,
    counts_in_groups,
    first_masks,
    notice_of_density,
    of_one_worker,
    sensitivity_masks,
)
from keras_sparse.training.momentum import GradientAverage
from keras_sparse.training.selection import Selection
from keras_sparse.training.state_in_files import COUNTERS, StateInFiles
from keras_sparse.training.untrained import scale_untrained

NOT_RESTORED = -2  # the epoch, until masks are made: TensorFlow has put back no checkpoint


class MaskedOptimizer(StateInFiles):
    """An optimizer around an optimizer that holds the masks and applies them every step.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        selection: which weights get a mask.
        initial_masks: ``"random"``, ``"magnitude"``, ``"nonzero"``, ``"snip"``, or masks by path.
        structure: what masks are made of.
        gradient_average: keeps what momentum the inner optimizer does not, or None.
        seed: of the initial masks; None: drawn as Keras draws seeds, and saved.
        name: of this optimizer.
        initial_scale: ``"auto"`` or None, see ``keras_sparse.rules.initial_scale``.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        selection: Selection,
        initial_masks: Kind,
        structure: Structure,
        gradient_average: GradientAverage | None,
        seed: int | None,
        name: str | None = None,
        initial_scale: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, selection, structure, gradient_average, seed, name)
        self.initial_masks = check_kind(initial_masks)
        self.initial_scale = check_initial_scale(initial_scale)

    scope = "layer"  # or "global": all layers compete where weights are pruned to a density

    def initial_counts(
        self,
        names: Sequence[str],
        shapes: Sequence[tuple[int, ...]],
        step: int,
    ) -> list[int]:
        """Active weights per layer when training starts at this optimizer step."""
        message = f"{type(self).__name__} must say how many weights are active at first."
        raise NotImplementedError(message)

    # --- whose weights

    def attach(self, model: keras.Model) -> None:
        """Tells whose the variables are, so that layer types can be told.

        The UpdateMasks callback does it in ``fit``.
        """
        self._model = weakref.ref(model)
        if not self.built:
            return
        if self._scale_is_due:
            self._scale_weights(list(self.masks.values()))
        known = self.selection.select(variables_of(self), model)
        self._doubt = None
        if not self.masked_weights:
            self._make_masks(known)
        elif known != self.masked_indices and self.step() == 0 and not self.masks_were_loaded:
            wrong = set(known) ^ set(self.masked_indices)
            raise ValueError(
                "The optimizer was built without its model and took some weights for others than "
                "they are: call `optimizer.build(model)` before `fit`. "
                f"Received: {[variables_of(self)[i].path for i in wrong]}"
            )
        self._fill_dense_layers()

    def build(self, variables: Any) -> None:
        """Makes the masks and applies them.

        Args:
            variables: the trainable variables; or the model, then layer types and depthwise
                kernels are told for certain. Without any (all are frozen, or Keras has loaded a
                .h5 file) nothing is built, until there are some.
        """
        if self.built:
            return
        if isinstance(variables, keras.Model):
            self._model = weakref.ref(variables)
            variables = variables.trainable_variables
        variables = list(variables)
        if not variables:
            return
        with eager_scope():
            chosen = self._select(variables)
            if not self.inner_optimizer.built:
                self.inner_optimizer.build(variables)
            super().build(variables)
            self._seed.build()
            self._add_counters()
            is_certain = self._model() is not None or not self.selection.needs_model
            if is_certain or self._loaded is not None:
                self._make_masks(chosen)

    def _select(self, variables: Sequence[Any]) -> list[int]:
        """Indices of the variables to mask.

        Without the model a selector that selects nothing may name frozen weights: an error later,
        if it is none.
        """
        try:
            return self.selection.select(variables, self._model())
        except ValueError as error:
            if self._model() is not None:
                raise
            self._doubt = error
            return self.selection.select_known(variables)

    def _add_counters(self) -> None:
        not_restored = keras.initializers.Constant(NOT_RESTORED)
        counters: dict[str, Any] = {}
        for name in COUNTERS:
            start = not_restored if name == "epoch" else "zeros"
            counters[name] = self.add_variable((), start, "int", name=name)
        self.counters = counters
        self.growth_window_open = self.add_variable(
            (),
            initializer="ones",
            dtype="bool",
            name="growth_window_open",
        )

    # --- their first masks

    def _make_masks(self, indices: Sequence[int]) -> None:
        """Those of a file or checkpoint that was read before, else ``initial_masks``."""
        for i in indices:
            variable = variables_of(self)[i]
            self.structure.check(variable.path, tuple(variable.shape))
        loaded, self._loaded = self._loaded, None
        if isinstance(loaded, checkpoint.SavedState):
            self._put_back(loaded, indices, goes_on=False)
        elif loaded is not None:
            self.hold_masks_of(indices)
            self.set_weights(loaded)
            self.masks_were_loaded = True
        elif self._was_restored():
            self.hold_masks_of(indices)
            masks = list(self.masks.values())
            self._check_masks(self.masked_weights, masks)
            self.put_masks(masks)
            self.use_restored_explored()
        elif self.initial_masks == "snip" and indices:
            self.awaiting = list(indices)  # until `begin_with_batch`
            return
        else:
            masks = self._first_masks(indices)
            self.hold_masks_of(indices)
            self._begin_with(masks)
        self._fill_dense_layers()

    def begin_with_batch(
        self,
        sensitivities: Callable[[Sequence[Any]], Sequence[np.ndarray]],
    ) -> None:
        """Makes the first masks of ``initial_masks="snip"``, which wait for a batch of data.

        Args:
            sensitivities: of weights: float arrays of their shapes, not negative.
        """
        indices = self.awaiting
        if self._was_restored():
            self._make_masks(indices)
            return
        weights = [variables_of(self)[i] for i in indices]
        check_readable(self.initial_masks, weights)
        names = unique_names([weight.path for weight in weights])
        scores = dict(zip(names, sensitivities(weights), strict=True))
        wanted = sum(self._first_counts(weights))
        masks = of_one_worker(sensitivity_masks(scores, wanted, self.structure))
        self.hold_masks_of(indices)
        self._begin_with(masks)
        self._fill_dense_layers()

    def _first_counts(self, weights: Sequence[Any]) -> list[int]:
        """Active weights of each when training starts, in whole groups."""
        shapes = [tuple(weight.shape) for weight in weights]
        wanted = self.initial_counts([weight.path for weight in weights], shapes, self.step())
        return counts_in_groups(wanted, weights, self.structure)

    def _was_restored(self) -> bool:
        """Has TensorFlow put back a checkpoint, which was read before there were variables?"""
        return self.counter("epoch") != NOT_RESTORED

    def _first_masks(self, indices: Sequence[int]) -> list[np.ndarray]:
        """What ``initial_masks`` says."""
        step, kind = self.step(), self.initial_masks
        if step and kind == "random":
            warnings.warn(RANDOM_OVER_TRAINED, stacklevel=2)
        weights = [variables_of(self)[i] for i in indices]
        if not weights:
            return []
        counts = self._first_counts(weights)
        if isinstance(kind, GivenMasks):
            return self._given_masks(kind, weights, sum(counts))
        check_readable(kind, weights)
        if kind == "magnitude" and self.scope == "global":
            counts = competing_counts(weights, sum(counts), self.structure)
        rng = np.random.default_rng([self.seed, step])
        masks = first_masks(kind, weights, counts, self.structure, rng)
        self._notice = notice_of_density(kind, masks, sum(counts), self.structure)
        return masks

    def _given_masks(
        self,
        given: GivenMasks,
        weights: Sequence[Any],
        wanted: int,
    ) -> list[np.ndarray]:
        names = unique_names([weight.path for weight in weights])
        masks = given.of(names, [tuple(weight.shape) for weight in weights])
        check_given(names, masks, wanted, self.structure)
        return of_one_worker(masks)

    def _begin_with(self, masks: Sequence[np.ndarray]) -> None:
        """Masks the weights; the counters are those of a run that begins at this step."""
        self._reset_counters()
        if self.initial_scale == "auto" and self.initial_masks == "random":
            self._scale_weights(masks)
        self.assign_masks(masks)
        self.open_growth_window(self.grows_by_gradients())

    def _scale_weights(self, masks: Sequence[np.ndarray]) -> None:
        """Gives untrained weights their initial scale; later, if nobody knows the model by now."""
        model = self._model() or calling_model(variables_of(self))
        self._scale_is_due = model is None
        if model is not None:
            scale_untrained(model, self.masked_variables, masks)
