"""The SparseMomentum of a model, whatever wraps it."""

from typing import Any

import keras

from keras_sparse._keras import check_keras_3
from keras_sparse.compute.mask_owner import mask_owners_inside, mask_owners_of
from keras_sparse.rules.received import received
from keras_sparse.training.sparse_momentum import SparseMomentum


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
        raise TypeError(f"`trained` must be a model or an optimizer. {received(trained=trained)}")
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
