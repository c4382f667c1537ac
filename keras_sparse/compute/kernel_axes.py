"""Which axes of a kernel are its input and output channels, and how many of these are dead."""

import keras
import numpy as np

from keras_sparse._keras import layers_of, own_weights
from keras_sparse.rules import initial_scale

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def owners_of_weights(model: keras.Model) -> dict[int, keras.layers.Layer]:
    """{id of a variable: the layer that made it}, frozen ones too."""
    layers = [model, *layers_of(model)]
    return {id(variable): layer for layer in layers for variable in own_weights(layer)}


def output_axes(layer: keras.layers.Layer, rank: int) -> tuple[int, ...]:
    """Axes of the kernel that are output channels: the last one of most layers."""
    if isinstance(layer, TRANSPOSED):
        return (rank - 2,)
    if isinstance(layer, keras.layers.EinsumDense):
        return tuple(axis for axis in range(rank) if axis not in input_axes(layer, rank))
    return (rank - 1,)


def input_axes(layer: keras.layers.Layer, rank: int) -> tuple[int, ...]:
    """Axes of the kernel that are input channels."""
    if isinstance(layer, TRANSPOSED):
        return (rank - 1,)
    if isinstance(layer, keras.layers.EinsumDense):
        return initial_scale.einsum(layer.equation).into
    return (rank - 2,)


def dead_channels(mask: np.ndarray, axes: tuple[int, ...]) -> int:
    """Channels, along these axes of the mask, without an active weight."""
    others = tuple(axis for axis in range(mask.ndim) if axis not in axes)
    return int(np.count_nonzero(~mask.any(axis=others)))
