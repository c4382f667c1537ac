"""Which SparseMomentum is a model compiled with, and how is one put in afterwards?"""

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
from keras_sparse.momentum import MULTI_OPTIMIZER
from keras_sparse.optimizers import SparseMomentum
from keras_sparse.untrained import constant_starts


def sparse_momentum_of(model: keras.Model) -> SparseMomentum | None:
    """The SparseMomentum a model is compiled with, also inside of a LossScaleOptimizer; None if there is none."""
    optimizer = getattr(model, "optimizer", None)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer if isinstance(optimizer, SparseMomentum) else None


def sparse_momenta_of(model: keras.Model, attributes: bool = True) -> list[SparseMomentum]:
    """All SparseMomentum of a model: the compiled one, also inside of a LossScaleOptimizer or a MultiOptimizer.

    Args:
        model: a Keras model.
        attributes: True: where it is compiled with none, those that are its attributes, or in lists and
            dictionaries there.
    """
    optimizer = getattr(model, "optimizer", None)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    parts = optimizer.optimizers if isinstance(optimizer, MULTI_OPTIMIZER) else [optimizer]
    found = [part for part in parts if isinstance(part, SparseMomentum)]
    if found or not attributes:
        return found
    own: list[Any] = []
    for value in vars(model).values():
        own += value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else [value]
    return list({id(value): value for value in own if isinstance(value, SparseMomentum)}.values())


def put_sparse_momentum(model: keras.Model, settings: Mapping[str, Any]) -> SparseMomentum:
    """Puts a SparseMomentum around the optimizer of a compiled model, inside of a LossScaleOptimizer.

    Args:
        model: a compiled model.
        settings: arguments of SparseMomentum but ``inner_optimizer``.

    Raises:
        ValueError: no settings.
    """
    if not settings:
        raise ValueError(
            "The model is not compiled with a SparseMomentum optimizer. Compile with keras_sparse.SparseMomentum(optimizer, density=...), "
            f"or give its settings to the callback: UpdateMasks(density=...). Received: optimizer={type(model.optimizer).__name__}"
        )
    check_keras_3(model.optimizer, "optimizer")
    with strategy_scope(model):
        outer = model.optimizer
        if not isinstance(outer, keras.optimizers.LossScaleOptimizer):
            wrapped = SparseMomentum(outer, **settings)
            replace_optimizer(model, wrapped)
            return wrapped
        outer.inner_optimizer = SparseMomentum(outer.inner_optimizer, **settings)
        replace_optimizer(model, outer)
        return outer.inner_optimizer


def check_settings(optimizer: SparseMomentum, settings: Mapping[str, Any]) -> None:
    """Raises ValueError if settings are given and the optimizer has others."""
    if not settings:
        return
    asked = SparseMomentum(keras.optimizers.SGD(momentum=0.9), **settings).get_config()
    has = optimizer.get_config()
    free = {"inner_optimizer", "name", *({"seed"} - set(settings))}  # a seed that nobody gave is drawn
    if any(has[key] != asked[key] for key in has if key not in free):
        raise ValueError(
            f"The model is compiled with a SparseMomentum of other settings than this callback's: give them to one of the two. Received: {sorted(settings)}"
        )


def looks_trained(model: keras.Model, weights: Sequence[Any]) -> bool:
    """Has anything moved that Keras starts at a constant: biases of these weights' layers, else normalisation?

    Args:
        model: a built model.
        weights: kernels that are to get random masks. Where all of their layers have a bias it alone is looked at,
            so that a trained part of the model that stays dense does not count.
    """
    wanted = set(map(id, weights))
    layers = layers_of(model)
    masked = [layer for layer in layers if wanted & set(map(id, own_weights(layer)))]
    looked_at = masked if all(constant_starts(layer) for layer in masked) else layers
    return any((to_float32(variable) != start).any() for layer in looked_at for variable, start in constant_starts(layer))
