"""Which layers of Keras have a rule for their channels, and why another one has none."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_sparse.models.channels import Array

L = keras.layers

# Functions of one number: softmax and the like mix channels.
ELEMENTWISE = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "sigmoid"),
    *("hard_sigmoid", "hard_tanh", "tanh", "softplus", "softsign", "silu", "swish", "hard_silu"),
    *("hard_swish", "exponential", "mish", "log_sigmoid"),
)
CONVOLUTIONS = (L.Conv1D, L.Conv2D, L.Conv3D)
DEPTHWISE = (L.DepthwiseConv1D, L.DepthwiseConv2D)
SEPARABLE = (L.SeparableConv1D, L.SeparableConv2D)  # a depthwise, then a 1x1 convolution
MIXING = (L.Dense, *CONVOLUTIONS, *SEPARABLE)  # their kernels make new channels
# They pass each value on, or take the mean or maximum of values of the same channel.
PASSING = (
    *(L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.GaussianNoise),
    *(L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D),
    *(L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D),
    *(L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D),
    *(L.GlobalMaxPooling1D, L.GlobalMaxPooling2D, L.GlobalMaxPooling3D),
    *(L.UpSampling1D, L.UpSampling2D, L.UpSampling3D),
    *(L.Cropping1D, L.Cropping2D, L.Cropping3D),
)
PADDING = (L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D)
SUMS: dict[type, Callable[[Array, Array], Array]] = {
    L.Add: np.add,
    L.Subtract: np.subtract,
    L.Multiply: np.multiply,
    L.Maximum: np.maximum,
    L.Minimum: np.minimum,
}


def why_no_rule(layer: Any) -> str | None:
    """Why the channels of a layer all stay, or None where there is a rule for it."""
    kind = type(layer)
    activations = (L.Activation, L.ReLU, L.LeakyReLU, L.ELU)
    others = (L.InputLayer, L.Concatenate, L.Flatten, L.BatchNormalization)
    if kind in (*MIXING, *DEPTHWISE, *PASSING, *PADDING, *SUMS, *activations, *others):
        return _why_not_this(layer)
    return f"no rule for {kind.__name__}"


def _why_not_this(layer: Any) -> str | None:
    if getattr(layer, "data_format", None) == "channels_first":
        return "channels_first"
    if getattr(layer, "groups", 1) != 1:
        return "groups of channels"
    if not _is_elementwise(getattr(layer, "activation", keras.activations.linear)):
        return "its activation mixes channels, or is not Keras'"
    if isinstance(layer, L.BatchNormalization | L.Concatenate):
        rank = len(layer.output.shape)
        if layer.axis not in (-1, rank - 1):
            return f"axis={layer.axis}"
    if getattr(layer, "quantization_mode", None) is not None or getattr(
        layer, "lora_enabled", False
    ):
        return "quantized, or with LoRA"
    return None


def _is_elementwise(activation: Any) -> bool:
    known = {keras.activations.get(name) for name in ELEMENTWISE}
    return activation in known
