"""The optimizers whose masks a callback updates: given, the model's own, or a new one."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_sparse._keras import check_keras_3, replace_optimizer, strategy_scope
from keras_sparse.rules.received import received
from keras_sparse.training.find_optimizer import sparse_momenta_of
from keras_sparse.training.momentum import MULTI_OPTIMIZER
from keras_sparse.training.sparse_momentum import SparseMomentum


def updated_optimizers(
    model: keras.Model, given: Sequence[SparseMomentum], settings: Mapping[str, Any]
) -> list[SparseMomentum]:
    """The optimizers whose masks change while this model trains; they learn what model it is.

    Args:
        model: a compiled model.
        given: the optimizers that the callback was given; empty: those of the model.
        settings: of a new SparseMomentum around the model's optimizer; empty: there is one.

    Raises:
        ValueError: the model has none, and there are no settings; or it has one of other settings.
    """
    with strategy_scope(model):
        build_parts(model)
    of_model = [] if given else sparse_momenta_of(model)
    optimizers = [*given] or of_model or [_put_sparse_momentum(model, settings)]
    for optimizer in optimizers:
        _check_settings(optimizer, settings)
        optimizer.updates_are_planned = True
        with strategy_scope(model):
            optimizer.attach(model)
    return optimizers


def given_optimizers(optimizer: Any, settings: Any) -> list[SparseMomentum]:
    """The optimizers that a callback was given, as a list.

    Raises:
        ValueError: others than SparseMomentum, or settings beside them.
    """
    given: list[Any] = [] if optimizer is None else [optimizer]
    if isinstance(optimizer, Sequence):
        given = list(optimizer)
    if optimizer is not None and not given:
        raise ValueError(
            "`optimizer` must be a SparseMomentum or a list of them, or None: those of the model. "
            f"{received(optimizer=optimizer)}"
        )
    if wrong := [one for one in given if not isinstance(one, SparseMomentum)]:
        names = ", ".join(type(one).__name__ for one in wrong)
        raise ValueError(
            f"`optimizer` must be a SparseMomentum or a list of them. Received: {names}"
        )
    if given and settings:
        raise ValueError(
            f"Give `optimizer` or settings of a new one, not both. Received: {sorted(settings)}"
        )
    return given


def build_parts(model: keras.Model) -> None:
    """Builds a MultiOptimizer: where a function chooses its parts it knows them only then."""
    optimizer = getattr(model, "optimizer", None)
    if (
        isinstance(optimizer, MULTI_OPTIMIZER)
        and not optimizer.built
        and model.built
        and model.trainable_variables
    ):
        optimizer.build(model.trainable_variables)


def _put_sparse_momentum(model: keras.Model, settings: Mapping[str, Any]) -> SparseMomentum:
    """Puts a SparseMomentum around the optimizer of a compiled model.

    A LossScaleOptimizer stays outside.

    Args:
        model: a compiled model.
        settings: arguments of SparseMomentum but ``inner_optimizer``.

    Raises:
        ValueError: no settings.
    """
    if not settings:
        raise ValueError(
            "The model is not compiled with a SparseMomentum optimizer. Compile with "
            "keras_sparse.SparseMomentum(optimizer, density=...), or give its settings to the "
            "callback: UpdateMasks(density=...). "
            f"Received: optimizer={type(model.optimizer).__name__}"
        )
    check_keras_3(model.optimizer, "optimizer")
    with strategy_scope(model):
        outer = model.optimizer
        if not isinstance(outer, keras.optimizers.LossScaleOptimizer):
            wrapped = SparseMomentum(outer, **settings)
            replace_optimizer(model, wrapped)
            return wrapped
        wrapped = SparseMomentum(outer.inner_optimizer, **settings)
        outer.inner_optimizer = wrapped
        replace_optimizer(model, outer)
        if outer.built:  # it has built its inner optimizer, and does so only once
            wrapped.build(model)
        return wrapped


def _check_settings(optimizer: SparseMomentum, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if settings are given and the optimizer has others."""
    if not settings:
        return
    asked = SparseMomentum(keras.optimizers.SGD(momentum=0.9), **settings).get_config()
    has = optimizer.get_config()
    # A seed that nobody gave is drawn.
    free = {"inner_optimizer", "name", *({"seed"} - set(settings))}
    if others := [key for key in has if key not in free and has[key] != asked[key]]:
        raise ValueError(
            "The model is compiled with a SparseMomentum of other settings than this callback's. "
            "Leave them out here to train on, or compile the model again for new masks. "
            f"Received: {sorted(settings)}; these differ: {others}"
        )
