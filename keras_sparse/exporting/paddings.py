"""Leaves zeros around images to the convolution behind, where its padding "same" is just these.

A ``ZeroPadding2D`` writes all images once more. Networks of Keras have them in front of
convolutions with strides and padding "valid".
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_sparse.conversion.convertible import keras_type
from keras_sparse.exporting.readers import Call, Readers

PADDED = (layers.Conv2D, layers.DepthwiseConv2D)


def fold_paddings(convolutions: Sequence[keras.layers.Layer], readers: Readers) -> dict[str, str]:
    """Changes a model; returns {name of a padding that is gone: the convolution with padding}.

    Args:
        convolutions: layers of the model; those of other types are left alone.
        readers: of all its calls of these layers and of ``ZeroPadding2D``.
    """
    found = {}
    for layer in convolutions:
        if keras_type(layer) in PADDED and (padding := _padding_before(layer, readers)) is not None:
            layer.padding = "same"
            object.__setattr__(padding, "__class__", _NoPadding)
            found[padding.path or padding.name] = layer.path or layer.name
    return found


def _padding_before(layer: Any, readers: Readers) -> keras.layers.Layer | None:
    calls = readers.calls_of(layer)
    if not calls or layer.padding != "valid" or tuple(layer.dilation_rate) != (1, 1):
        return None
    padding: Any = readers.maker_of(calls[0].inputs)
    if type(padding) is not layers.ZeroPadding2D or not readers.is_read_only_by(padding, layer):
        return None
    if any(readers.maker_of(call.inputs) is not padding for call in calls):
        return None
    if {layer.data_format, padding.data_format} != {"channels_last"}:
        return None
    added = tuple(tuple(each) for each in padding.padding)
    is_same = all(added == _same(layer, call) for call in readers.calls_of(padding))
    return padding if is_same else None


def _same(layer: Any, call: Call) -> tuple[tuple[int, int], ...] | None:
    """Zeros before and behind that padding "same" adds to the inputs of a call, for each axis."""
    sizes = call.inputs.shape[1:3]
    if None in sizes:
        return None
    return tuple(map(_zeros, sizes, layer.kernel_size, layer.strides))


def _zeros(size: int, taps: int, stride: int) -> tuple[int, int]:
    """Zeros that "same" adds before and behind an axis.

    >>> _zeros(224, 3, 2), _zeros(8, 3, 1)
    ((0, 1), (1, 1))
    """
    added = max(0, (-(-size // stride) - 1) * stride + taps - size)
    return added // 2, added - added // 2


class _NoPadding(layers.ZeroPadding2D):
    """What a padding that the convolution adds still does."""

    def call(self, inputs: Any) -> Any:
        return inputs
