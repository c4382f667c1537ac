"""How the call of a layer ends: the bias is added, then the activation is applied."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

# They take no notice of axes. TensorFlow joins them with the product, if nothing is between.
BY_ELEMENT = (keras.activations.relu, keras.activations.relu6)


def with_bias(
    layer: keras.layers.Layer, products: Any, axes: Callable[[Any], Any] | None = None
) -> Any:
    """The outputs of a dense layer or a convolution.

    Args:
        layer: has ``bias``, which may be None, and ``activation``; a convolution also ``rank``,
            ``filters`` and ``data_format``.
        products: of its inputs and kernel, float tensor of the outputs' shape.
        axes: brings products of another shape, whose last axis holds all numbers of the bias, into
            the outputs' shape.

    >>> layer = keras.layers.Dense(2, bias_initializer="ones")
    >>> layer.build((None, 3))
    >>> float(ops.sum(with_bias(layer, np.zeros((1, 2), "float32"))))
    2.0
    """
    if layer.bias is not None:
        products = ops.add(products, _bias(layer) if axes is None else _flat(_bias(layer)))
    activation = layer.activation
    if axes is not None and activation not in BY_ELEMENT:
        products = axes(products)
    outputs = products if activation is None else activation(products)
    return axes(outputs) if axes is not None and activation in BY_ELEMENT else outputs


def _flat(bias: Any) -> Any:
    return bias if len(bias.shape) == 1 else ops.reshape(bias, (-1,))


def _bias(layer: keras.layers.Layer) -> Any:
    """The bias with the axes of the outputs; of their last axis, it needs no others."""
    if not hasattr(layer, "rank") or layer.data_format == "channels_last":
        return layer.bias
    return ops.reshape(layer.bias, (1, layer.filters, *(1,) * layer.rank))
