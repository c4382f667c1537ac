"""The SparseMomentum of a model, whatever wraps it; and how one is put in afterwards."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_sparse._keras import (
    check_keras_3,
    layers_of,
    own_weights,
    replace_optimizer,
    strategy_scope,
    to_float32,
)
from keras_sparse.compute.mask_owner import mask_owners_inside, mask_owners_of
from keras_sparse.training.momentum import MULTI_OPTIMIZER
from keras_sparse.training.sparse_momentum import SparseMomentum
from keras_sparse.training.untrained import constant_starts


def sparse_optimizer(trained: Any) -> SparseMomentum:
    """The SparseMomentum of a model, whatever Keras or you have put around it.

    Args:
        trained: a model that is compiled with a SparseMomentum, a model that has one as an
            attribute, or such an optimizer. It may be inside of a LossScaleOptimizer (which Keras
            puts around it under ``mixed_float16``), of a MultiOptimizer, or of a wrapper of yours
            that holds it as ``inner_optimizer``.

    Raises:
        ValueError: there is none, or there are several.
        TypeError: neither a model nor an optimizer.

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> inner = SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.25)
    >>> model.compile(keras.optimizers.LossScaleOptimizer(inner), "mse")
    >>> sparse_optimizer(model) is inner
    True
    """
    check_keras_3(trained, "trained")
    if not isinstance(trained, keras.optimizers.Optimizer | keras.layers.Layer):
        raise TypeError(f"`trained` must be a model or an optimizer. Received: trained={trained!r}")
    found = (
        _inside(trained)
        if isinstance(trained, keras.optimizers.Optimizer)
        else sparse_momenta_of(trained)
    )
    if not found:
        optimizer = getattr(trained, "optimizer", trained)
        raise ValueError(
            "There is no SparseMomentum: compile the model with "
            "keras_sparse.SparseMomentum(optimizer, density=...), or train it with the callback "
            "UpdateMasks(density=...), which puts one in. "
            f"Received: optimizer={type(optimizer).__name__}"
        )
    if len(found) > 1:
        raise ValueError(
            "There are several SparseMomentum optimizers: give one of them. "
            f"Received: {[one.name for one in found]}"
        )
    return found.pop()


def sparse_momentum_of(model: keras.Model) -> SparseMomentum | None:
    """The first SparseMomentum inside the optimizer that a model is compiled with, or None."""
    return next(iter(_inside(getattr(model, "optimizer", None))), None)


def sparse_momenta_of(model: keras.Model) -> list[SparseMomentum]:
    """Those inside the compiled optimizer; without one, those that are attributes of the model."""
    return [owner for owner in mask_owners_of(model) if isinstance(owner, SparseMomentum)]


def compiled_sparse_momenta(model: keras.Model) -> list[SparseMomentum]:
    """Those inside the optimizer that a model is compiled with."""
    return _inside(getattr(model, "optimizer", None))


def _inside(optimizer: Any) -> list[SparseMomentum]:
    """All SparseMomentum in an optimizer of optimizers, itself included."""
    owners = mask_owners_inside(optimizer)
    return [owner for owner in owners if isinstance(owner, SparseMomentum)]


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
            f"Received: optimizer={optimizer!r}"
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


def put_sparse_momentum(model: keras.Model, settings: Mapping[str, Any]) -> SparseMomentum:
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


def check_settings(optimizer: SparseMomentum, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if settings are given and the optimizer has others."""
    if not settings:
        return
    asked = SparseMomentum(keras.optimizers.SGD(momentum=0.9), **settings).get_config()
    has = optimizer.get_config()
    # A seed that nobody gave is drawn.
    free = {"inner_optimizer", "name", *({"seed"} - set(settings))}
    if any(has[key] != asked[key] for key in has if key not in free):
        raise ValueError(
            "The model is compiled with a SparseMomentum of other settings than this callback's: "
            f"give them to one of the two. Received: {sorted(settings)}"
        )


def looks_trained(model: keras.Model, weights: Sequence[Any]) -> bool:
    """Has anything moved that Keras starts at a constant?

    Biases of these weights' layers tell it, else normalization.

    Args:
        model: a built model.
        weights: kernels that are to get random masks. Where all of their layers have a bias, only
            these layers are looked at: a trained part of the model may stay dense.
    """
    wanted = set(map(id, weights))
    layers = layers_of(model)
    masked = [layer for layer in layers if wanted & set(map(id, own_weights(layer)))]
    looked_at = masked if all(constant_starts(layer) for layer in masked) else layers
    return any(
        (to_float32(variable) != start).any()
        for layer in looked_at
        for variable, start in constant_starts(layer)
    )


def masks_randomly_over_trained(model: keras.Model, optimizer: SparseMomentum) -> bool:
    """Do new random masks cover weights that look trained?  After step 0, `build` says so."""
    is_new = optimizer.built and optimizer.step() == 0 and not optimizer.masks_were_loaded
    is_random = optimizer.initial_masks == "random"
    return is_new and is_random and looks_trained(model, optimizer.masked_variables)
