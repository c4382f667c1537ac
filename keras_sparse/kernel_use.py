"""How does a layer use its kernel: which axes are input and output channels, and how often per example?

Multiply-adds of one example are uses * weights. Uses are counted while the model runs on one batch of zeros, so nested,
shared and subclassed models count right.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from keras_sparse._keras import input_structure, layers_of, own_variables

TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
Shape = tuple[int, ...]


def owners_of_weights(model: keras.Model) -> dict[int, keras.layers.Layer]:
    """{id of a trainable variable: the layer that made it}."""
    return {id(variable): layer for layer in layers_of(model) for variable in own_variables(layer)}


def output_axes(layer: keras.layers.Layer, rank: int) -> tuple[int, ...]:
    """Axes of the kernel that are output channels; for all but transposed convolutions and EinsumDense the last."""
    if isinstance(layer, TRANSPOSED):
        return (rank - 2,)
    if isinstance(layer, keras.layers.EinsumDense):
        _, kernel, output = _equation(layer)
        return tuple(axis for axis, label in enumerate(kernel) if label in output)
    return (rank - 1,)


def input_axes(layer: keras.layers.Layer, rank: int) -> tuple[int, ...]:
    """Axes of the kernel that are input channels."""
    if isinstance(layer, TRANSPOSED):
        return (rank - 1,)
    if isinstance(layer, keras.layers.EinsumDense):
        return tuple(axis for axis in range(rank) if axis not in output_axes(layer, rank))
    return (rank - 2,)


def dead_channels(mask: np.ndarray, axes: tuple[int, ...]) -> int:
    """Channels, along these axes of the mask, without an active weight."""
    others = tuple(axis for axis in range(mask.ndim) if axis not in axes)
    return int(np.count_nonzero(~mask.any(axis=others)))


def uses_per_example(model: keras.Model, input_shape: Any = None) -> dict[int, int] | None:
    """{id of a layer: how often one example uses each of its kernel's entries}; None if the input shape is not known.

    Args:
        model: a built model.
        input_shape: of one batch, e.g. (None, 32, 32, 3); only for models that do not know it (subclassed ones, or
            sequences of any length).
    """
    inputs = _zeros(model, input_shape)
    if inputs is None:
        return None
    uses: dict[int, int] = {}
    with _recorded(layers_of(model), uses):
        model(inputs, training=False)
    return uses


def _zeros(model: keras.Model, input_shape: Any) -> Any:
    if input_shape is not None:
        return np.zeros((1, *input_shape[1:]), "float32")
    structure = input_structure(model)
    if structure is None or any(None in tensor.shape[1:] for tensor in tree.flatten(structure)):
        return None
    return tree.map_structure(lambda tensor: np.zeros((1, *tensor.shape[1:]), tensor.dtype), structure)


@contextlib.contextmanager
def _recorded(layers: list[keras.layers.Layer], uses: dict[int, int]) -> Iterator[None]:
    """While it lasts, every call of a layer adds to its uses."""
    for layer in layers:
        layer.__dict__["call"] = _recording(layer, layer.call, uses)
    try:
        yield
    finally:
        for layer in layers:
            del layer.__dict__["call"]


def _recording(layer: keras.layers.Layer, call: Callable[..., Any], uses: dict[int, int]) -> Callable[..., Any]:
    @functools.wraps(call)
    def recording_call(*args: Any, **kwargs: Any) -> Any:
        outputs = call(*args, **kwargs)
        if isinstance(layer, keras.layers.RNN):  # each step uses the whole cell
            cells = getattr(layer.cell, "cells", [layer.cell])
            for cell in cells:
                uses[id(cell)] = uses.get(id(cell), 0) + int(args[0].shape[1])
        elif own_variables(layer) and not isinstance(layer, RNN_CELLS):
            first = [tuple(tensor.shape) for tensor in (tree.flatten(args)[0], tree.flatten(outputs)[0])]
            uses[id(layer)] = uses.get(id(layer), 0) + _uses_of_call(layer, *first)
        return outputs

    return recording_call


RNN_CELLS = (keras.layers.LSTMCell, keras.layers.GRUCell, keras.layers.SimpleRNNCell)


def _uses_of_call(layer: keras.layers.Layer, inputs: Shape, outputs: Shape) -> int:
    if isinstance(layer, keras.layers.EinsumDense):
        _, kernel, output = _equation(layer)
        shared = [size for size, label in zip(layer.kernel.shape, kernel, strict=True) if label in output]
        return math.prod(outputs[1:]) // math.prod(shared)
    shape = inputs if isinstance(layer, TRANSPOSED) else outputs
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    return math.prod(shape[2:] if channels_first else shape[1:-1])


def _equation(layer: keras.layers.EinsumDense) -> tuple[str, str, str]:
    operands, output = layer.equation.replace(" ", "").split("->")
    inputs, kernel = operands.split(",")
    return inputs, kernel, output
