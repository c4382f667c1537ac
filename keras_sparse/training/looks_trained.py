"""A model looks trained if weights that Keras starts at a constant have moved."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse._keras import has_value, layers_of, own_weights, to_float32
from keras_sparse.training.untrained import constant_starts


def looks_trained(model: keras.Model, weights: Sequence[Any]) -> bool:
    """Has anything moved that Keras starts at a constant?

    Biases of these weights' layers tell it, else normalization.

    Args:
        model: its layers may be built later; they are not trained then.
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
        if has_value(variable)
    )
