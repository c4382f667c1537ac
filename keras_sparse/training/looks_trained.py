"""Whether a model looks trained, and the warning where new random masks cover what it learned."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse._keras import layers_of, own_weights, to_float32
from keras_sparse.training.first_masks import RANDOM_OVER_TRAINED
from keras_sparse.training.sparse_momentum import SparseMomentum
from keras_sparse.training.untrained import constant_starts


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


def warn_of_random_masks(model: keras.Model, optimizers: Sequence[SparseMomentum]) -> None:
    """Warns where masks were drawn at random over trained weights."""
    for optimizer in optimizers:
        if masks_randomly_over_trained(model, optimizer):
            warnings.warn(RANDOM_OVER_TRAINED, stacklevel=3)
