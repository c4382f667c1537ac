"""What happens in ``fit`` before its first step: optimizers are built, and first masks are made."""

import contextlib
from collections.abc import Sequence

import keras

from keras_sparse._keras import build_by_running_fit, strategy_scope
from keras_sparse.training.sensitivities import make_awaited_masks
from keras_sparse.training.sparse_momentum import SparseMomentum


def prepare(model: keras.Model, optimizers: Sequence[SparseMomentum], is_compiled: bool) -> None:
    """Builds what can be built, and makes the masks that await a batch of data.

    Args:
        model: in a ``fit`` that begins.
        optimizers: whose masks change in it.
        is_compiled: True: the model is compiled with one of them.
    """
    if is_compiled and not model.optimizer.built:
        _build(model)
    make_awaited_masks(model, optimizers)


def _build(model: keras.Model) -> None:
    """Builds the optimizer, unless Keras builds model and optimizer while it traces its step."""
    with strategy_scope(model):
        if model.built and model.trainable_variables:
            model.optimizer.build(model.trainable_variables)
        elif model.run_eagerly and not model.built:
            with contextlib.suppress(ValueError):  # data that cannot be read twice
                build_by_running_fit(model)
