"""How the call of a layer ends: the bias is added, then the activation is applied."""

from typing import Any

import keras
from keras import ops


def with_bias(layer: keras.layers.Layer, products: Any) -> Any:
    """The outputs of a dense layer or a convolution.

    Args:
        layer: has ``bias``, which may be None, and ``activation``; a convolution also ``rank``,
            ``filters`` and ``data_format``.
        products: of its inputs and kernel, float tensor of the outputs' shape.

    >>> layer = keras.layers.Dense(2, bias_initializer="ones")
    >>> layer.build((None, 3))
    >>> float(ops.sum(with_bias(layer, np.zeros((1, 2), "float32"))))
    2.0
    """
    if layer.bias is not None:
        products = ops.add(products, _bias(layer))
    return products if layer.activation is None else layer.activation(products)


def _bias(layer: keras.layers.Layer) -> Any:
    """The bias with the axes of the outputs; of their last axis, it needs no others."""
    if not hasattr(layer, "rank") or layer.data_format == "channels_last":
        return layer.bias
    return ops.reshape(layer.bias, (1, layer.filters, *(1,) * layer.rank))
