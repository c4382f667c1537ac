"""How each kind of Keras layer passes channels on; channels of other layers all stay."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import to_float32
from keras_sparse.models.channels import Array, Channels, Kernel, Tensor

L = keras.layers
Rule = Callable[[Channels, Any, Sequence[Tensor]], Tensor]

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
    if kind in (L.InputLayer, L.Concatenate, L.Flatten, L.Activation, L.ReLU, L.LeakyReLU, L.ELU):
        return _why_not_axis(layer)
    if kind in (*PASSING, *PADDING, *SUMS):
        return _why_not_axis(layer)
    if kind in (*MIXING, *DEPTHWISE, L.BatchNormalization):
        return _why_not_axis(layer)
    return f"no rule for {kind.__name__}"


def _why_not_axis(layer: Any) -> str | None:
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


def rule_of(layer: Any) -> Rule:
    """The rule of a layer for which ``why_no_rule`` is None."""
    kind = type(layer)
    if kind in MIXING:
        return _kernel
    if kind in DEPTHWISE:
        return _depthwise
    if kind in SUMS:
        return _sum
    rules: dict[type, Rule] = {
        L.BatchNormalization: _batch_normalization,
        L.Concatenate: _concatenate,
        L.Flatten: _flatten,
        L.Activation: _activation,
        **dict.fromkeys((L.ReLU, L.LeakyReLU, L.ELU), _activation),
        **dict.fromkeys(PADDING, _padding),
    }
    return rules.get(kind, _pass)


def sees_borders(layer: Any) -> bool:
    """Whether a constant input gives other outputs at borders, where zeros are padded."""
    return getattr(layer, "padding", "valid") != "valid" and max(layer.kernel_size) > 1


def bias_of(layer: Any, number: int) -> Array:
    """Float64, shape (number,): the bias of a layer, or zeros."""
    return np.asarray(to_float32(layer.bias), float) if layer.use_bias else np.zeros(number)


def mixed(layer: Any, read: Tensor) -> tuple[Array, Tensor]:
    """The kernel that makes new channels, (taps, in, out), and the channels that it multiplies."""
    if type(layer) in SEPARABLE:
        kernel, read = layer.pointwise_kernel, _each_by_itself(layer, layer.depthwise_kernel, read)
    else:
        kernel = layer.kernel
    values = np.asarray(to_float32(kernel), float)
    return values.reshape(-1, *values.shape[-2:]), read


def _kernel(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    taps, read = mixed(layer, inputs[0])
    is_used, n_out = (taps != 0).any(axis=0), taps.shape[-1]
    folds = ~read.varies
    if type(layer) in CONVOLUTIONS and sees_borders(layer):
        folds &= read.constants == 0
    constants = bias_of(layer, n_out) + folded(taps, read.constants, folds)
    constants[is_used[~folds].any(axis=0)] = np.nan
    written = channels.new(n_out)
    channels.kernels.append(Kernel(layer, read, written, is_used, folds))
    return Tensor(written, _called(layer.activation, constants))


def folded(taps: Array, constants: Array, folds: Array) -> Array:
    """What constant inputs add to each output. Shapes (taps, in, out), (in,), (in,) -> (out,)."""
    total: Array = np.where(folds, constants, 0) @ taps.sum(axis=0)
    return total


def _depthwise(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    written = _each_by_itself(layer, layer.kernel, inputs[0])
    constants = written.constants + bias_of(layer, len(written.ids))
    return Tensor(written.ids, _called(layer.activation, constants))


def _each_by_itself(layer: Any, kernel: Any, read: Tensor) -> Tensor:
    """What a depthwise kernel (taps..., in, copies) makes of each channel."""
    values = np.asarray(to_float32(kernel), float)
    ids, constants = (np.repeat(each, values.shape[-1]) for each in (read.ids, read.constants))
    if sees_borders(layer):
        constants[constants != 0] = np.nan
    return Tensor(ids, constants * values.reshape(-1, len(ids)).sum(axis=0))


def _batch_normalization(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (read,) = inputs
    mean, variance = to_float32(layer.moving_mean), to_float32(layer.moving_variance)
    constants = (read.constants - mean) / np.sqrt(variance + layer.epsilon)
    constants = constants * to_float32(layer.gamma) if layer.scale else constants
    constants = constants + to_float32(layer.beta) if layer.center else constants
    return Tensor(read.ids, constants)


def _sum(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    first, *others = inputs
    constants = first.constants
    for other in others:
        channels.tie(first.ids, other.ids)
        is_zero = (constants == 0) | (other.constants == 0)
        constants = SUMS[type(layer)](constants, other.constants)
        if type(layer) is L.Multiply:
            constants = np.where(is_zero, 0.0, constants)
    return Tensor(first.ids, constants)


def _concatenate(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    return Tensor(
        np.concatenate([each.ids for each in inputs]),
        np.concatenate([each.constants for each in inputs]),
    )


def _flatten(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (read,) = inputs
    times = layer.output.shape[-1] // len(read.ids)
    return Tensor(np.tile(read.ids, times), np.tile(read.constants, times))


def _activation(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (read,) = inputs
    return Tensor(read.ids, _called(layer, read.constants))


def _called(function: Any, constants: Array) -> Array:
    values = np.asarray(keras.ops.convert_to_numpy(function(constants.astype(np.float32))), float)
    return np.where(np.isnan(constants), np.nan, values)


def _padding(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    (read,) = inputs
    return Tensor(read.ids, np.where(read.constants == 0, 0.0, np.nan))


def _pass(channels: Channels, layer: Any, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0]
