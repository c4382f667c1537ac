"""Which SparseMomentum is a model compiled with, and how is one put in afterwards?"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_sparse._keras import check_keras_3, layers_of, replace_optimizer, strategy_scope, to_float32
from keras_sparse.optimizers import SparseMomentum


def sparse_momentum_of(model: keras.Model) -> SparseMomentum | None:
    """The SparseMomentum a model is compiled with, also inside of a LossScaleOptimizer; None if there is none."""
    optimizer = getattr(model, "optimizer", None)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = optimizer.inner_optimizer
    return optimizer if isinstance(optimizer, SparseMomentum) else None


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
    if any(has[key] != asked[key] for key in has if key not in ("inner_optimizer", "name")):
        raise ValueError(
            f"The model is compiled with a SparseMomentum of other settings than this callback's: give them to one of the two. Received: {sorted(settings)}"
        )


def looks_trained(model: keras.Model) -> bool:
    """Has anything moved that Keras starts at zero: biases, moving means?"""
    for layer in layers_of(model):
        bias, mean = getattr(layer, "bias", None), getattr(layer, "moving_mean", None)
        starts_at_zero = isinstance(getattr(layer, "bias_initializer", None), keras.initializers.Zeros)
        moved = ([bias] if bias is not None and starts_at_zero else []) + ([mean] if mean is not None else [])
        if any(to_float32(variable).any() for variable in moved):
            return True
    return False
