"""How each kind of Keras layer passes channels on; channels of other layers all stay."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import to_float32
from keras_sparse.models.channel_kinds import (
    CONVOLUTIONS,
    DEPTHWISE,
    MIXING,
    PADDING,
    SEPARABLE,
    SUMS,
)
from keras_sparse.models.channels import Array, Channels, Kernel, Tensor

L = keras.layers
Rule = Callable[[Channels, Any, Sequence[Tensor]], Tensor]


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
