"""An optimizer learns which weights it trains: from its model, or from the variables alone.

What changes the masks comes on top.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NoReturn

import keras

from keras_sparse._keras import (
    calling_model,
    eager_scope,
    is_compiling_from_config,
    model_in_train_step,
    optimizer_steps_are_stateless,
    variables_of,
)
from keras_sparse.compute.free_memory import release_memory
from keras_sparse.training.starting_masks import StartingMasks
from keras_sparse.training.weight_costs import UNKNOWN_MODEL


class MaskedOptimizer(StartingMasks):
    """An optimizer around an optimizer that holds the masks and applies them every step.

    Arguments as for StartingMasks.
    """

    _was_asked_without_variables = False

    def attach(self, model: keras.Model) -> None:
        """Names the model of the variables: ``dense`` and ``sparse`` may name types of its layers.

        The UpdateMasks callback does it in ``fit``.

        Raises:
            ValueError: the optimizer was built without this model, and chose other weights to mask.
        """
        self._model = weakref.ref(model)
        if not self.built:
            return
        if self.begins_anew:
            self.begin_anew()
        if self._look_is_due:
            self._look_at_weights(list(self.masks.values()))
        # A file says what is masked: Keras loses the name of a Sequential in the paths it loads.
        if not (self.masks_were_loaded and self.masked_weights):
            self._choose(model)
        self._fill_dense_layers()

    def _choose(self, model: keras.Model) -> None:
        """Makes the masks that waited for the model; errors are those of ``attach``."""
        known = self.selection.select(variables_of(self), model)
        self._doubt = None
        if not self.masked_weights:
            self._make_masks(known)
        elif known != self.masked_indices and self.step() == 0:
            wrong = set(known) ^ set(self.masked_indices)
            raise ValueError(
                "The optimizer was built without its model and took some weights for others than "
                "they are: call `optimizer.build(model)` before `fit`. "
                f"Received: {[variables_of(self)[i].path for i in wrong]}"
            )

    def build(self, variables: Any) -> None:
        """Makes the masks and applies them.

        Args:
            variables: the trainable variables; or the model, which identifies layer types and
                depthwise kernels for certain. Without any variable (all are frozen, or Keras has
                loaded a .h5 file), nothing is built until there is one.

        Raises:
            ValueError: it was built before, for another model.
        """
        is_model = isinstance(variables, keras.Model)
        if is_model:
            self._check_own(variables)
            self._model = weakref.ref(variables)
            variables = variables.trainable_variables
        if self.begins_anew:
            self.begin_anew()
        if self.built:
            if is_model:
                self._take_model(self._model())
            return
        variables = list(variables)
        if not variables:
            self._was_asked_without_variables = True
            return
        self._check_loss_scaling()
        self._find_model(variables)
        with eager_scope():
            self._build_parts(variables)

    def _build_parts(self, variables: Sequence[Any]) -> None:
        before = self.variables
        self._variables_before = lambda: before
        chosen = self._select(variables)
        if self._loaded is not None:  # it has values for the momenta
            self._build_inner(variables)
        super().build(variables)
        self._seed.build()
        self._add_counters()
        self.growth_window_open = self.add_variable((), "ones", "bool", name="growth_window_open")
        weights_follow = is_compiling_from_config()
        is_known = self._model() is not None and not weights_follow
        if is_known or not self.needs_model or self._loaded is not None:
            if weights_follow and self._loaded is None and self._can_wait():
                self._hold_until_weights(chosen)
            else:
                self._make_masks(chosen)
        self._build_inner(variables)  # last: to make masks takes the memory of momenta
        release_memory(self.masked_bytes())

    def _build_inner(self, variables: Sequence[Any]) -> None:
        if not self.inner_optimizer.built:
            self.inner_optimizer.build(variables)

    def _check_loss_scaling(self) -> None:
        """Raises ValueError inside a LossScaleOptimizer that Keras built without any variable.

        From a .h5 file, that optimizer takes its own state alone, and values of others for it.
        """
        model = self._model() or model_in_train_step()
        outer = getattr(model, "optimizer", None)
        is_inside = isinstance(outer, keras.optimizers.LossScaleOptimizer)
        if is_inside and self._was_asked_without_variables:
            raise ValueError(
                "A LossScaleOptimizer must be built with trainable weights, and Keras cannot read "
                "its state from a .h5 file of a model. Save the model as .keras, or compile it "
                'again with a new optimizer: SparseMomentum(..., initial_masks="nonzero"). '
                "Received: a LossScaleOptimizer that was built without any"
            )

    def _check_own(self, model: keras.Model) -> None:
        """Raises ValueError if it was built, for a model that has none of the weights it trains."""
        if self.built and not set(map(id, variables_of(self))) & set(map(id, model.weights)):
            raise ValueError(
                "The optimizer was built for another model. Each model needs an optimizer of its "
                f"own: compile it with a new SparseMomentum. Received: model={model.name!r}"
            )

    def _take_model(self, model: keras.Model) -> None:
        """Makes what waits for a model."""
        if self.needs_model and not self.masked_weights:
            self.attach(model)
        self.costs_of(self.masked_variables)  # by this model: `fit` may know another

    @property
    def needs_model(self) -> bool:
        """Do layer types select weights, or does the model say what weights cost?"""
        return self.selection.needs_model or self.budget != "weights"

    def _find_model(self, variables: Sequence[Any]) -> None:
        """Learns whose method makes the present call, such as ``fit``, if that must be known."""
        if not self.needs_model or self._model() is not None:
            return
        model = calling_model(variables)
        if model is not None:
            self._model = weakref.ref(model)

    def _check_ready(self) -> None:
        if self.needs_model and not self.masked_weights and not self.awaiting:
            self._find_model(variables_of(self))
            model, is_late = self._model(), optimizer_steps_are_stateless()
            if model is None or (is_late and self.budget != "weights"):
                self._raise_unknown_model()
            if not is_late:
                with eager_scope():
                    self.attach(model)
        super()._check_ready()

    def _raise_unknown_model(self) -> NoReturn:
        if self.selection.needs_model:
            raise ValueError(
                "`dense` or `sparse` name layer types and the model is not known. Call "
                "`optimizer.build(model)` first, or train with the UpdateMasks callback. "
                f"Received: {self.selection}"
            )
        raise ValueError(UNKNOWN_MODEL.format(path=variables_of(self)[0].path))

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
