"""Folds batch normalizations into the layers in front of them, where the outputs stay the same.

In a prediction, a batch normalization multiplies each channel by a number and adds another one.
Directly behind a convolution or a dense layer, the first goes into the kernel and the second into
the bias. Missing weights stay 0, because whole output channels are multiplied.
"""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_sparse._keras import layers_of, to_numpy
from keras_sparse.compute.layers import SparseLayer
from keras_sparse.compute.normalization import FusedBatchNormalization
from keras_sparse.conversion.convertible import keras_type
from keras_sparse.conversion.sparsify import sparsify
from keras_sparse.exporting.paddings import fold_paddings
from keras_sparse.exporting.readers import Readers, read_by

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
LINEAR = (*CONVOLUTIONS, *TRANSPOSED, *DEPTHWISE, *SEPARABLE, layers.Dense, layers.EinsumDense)
NORMALIZATIONS = (layers.BatchNormalization, FusedBatchNormalization)


@dataclasses.dataclass(frozen=True)
class Folded:
    """A model for predictions alone.

    Attributes:
        model: the copy.
        into: {name of a normalization that is gone: the layer that it is folded into}.
        left: {name of a normalization that stays: why}.
        padded: {name of a padding that is gone: the convolution that adds its zeros}.
    """

    model: keras.Model
    into: dict[str, str]
    left: dict[str, str]
    padded: dict[str, str] = dataclasses.field(default_factory=dict)

    def notes(self) -> tuple[str, ...]:
        """Sentences for a report; one for each reason."""
        said = []
        if self.into:
            said.append(f"Batch normalizations folded into kernels and biases: {len(self.into)}.")
        if self.padded:
            said.append(f"Zero paddings left to the convolutions behind: {len(self.padded)}.")
        for why in dict.fromkeys(self.left.values()):
            names = ", ".join(name for name, reason in self.left.items() if reason == why)
            said.append(f"Not folded, because {why}: {names}.")
        return tuple(said)


def folded(model: keras.Model, signature: list[Any]) -> Folded:
    """A copy of a model of sparse layers, with batch normalizations and paddings folded into them.

    Its sparse layers are frozen: which of them run the custom op is decided once.

    Args:
        model: stays unchanged.
        signature: the positional arguments of its call, structures of specs.
    """
    copy = sparsify(model, verbose=False)
    for layer in layers_of(copy):
        if isinstance(layer, SparseLayer):
            layer.trainable = False
    normalizations = [one for one in layers_of(copy) if type(one) in NORMALIZATIONS]
    paddings = [one for one in layers_of(copy) if type(one) is layers.ZeroPadding2D]
    if not normalizations and not paddings:
        return Folded(copy, {}, {})
    linear = [one for one in layers_of(copy) if keras_type(one) in LINEAR]
    readers = read_by(copy, signature, [*linear, *normalizations, *paddings])
    into, left = {}, {}
    for normalization in normalizations:
        before, why = _layer_before(normalization, readers)
        if before is None:
            left[normalization.path or normalization.name] = why
        else:
            _fold(normalization, before)
            into[normalization.path or normalization.name] = before.path or before.name
    return Folded(copy, into, left, fold_paddings(linear, readers))


def _layer_before(
    normalization: keras.layers.Layer, readers: Readers
) -> tuple[keras.layers.Layer | None, str]:
    """The layer that this normalization can be folded into; or None, and why."""
    calls = readers.calls_of(normalization)
    if not calls:
        return None, "the prediction does not call it"
    if any(call.training for call in calls):
        return None, "it is called with training=True"
    makers = {id(maker): maker for maker in (readers.maker_of(call.inputs) for call in calls)}
    layer = next(iter(makers.values()))
    if len(makers) > 1 or layer is None or keras_type(layer) not in LINEAR:
        return None, "no convolution or dense layer is directly in front"
    return (None, why) if (why := _why_not(normalization, layer, readers)) else (layer, "")


def _why_not(
    normalization: keras.layers.Layer, layer: keras.layers.Layer, readers: Readers
) -> str | None:
    if layer.activation not in (None, keras.activations.linear):
        return "the layer in front has an activation"
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return "the layer in front is quantized, or has LoRA"
    if not readers.is_read_only_by(layer, normalization):
        return "something else reads the layer in front"
    if not all(readers.is_own(variable, layer) for variable in _changed(layer)):
        return "something else reads the weights of the layer in front"
    rank = len(readers.calls_of(normalization)[0].inputs.shape)
    is_last = getattr(layer, "data_format", "channels_last") == "channels_last"
    if normalization.axis % rank != (rank - 1 if is_last else 1):
        return "its axis is not that of the channels"
    if keras_type(layer) is layers.EinsumDense and _axis_of_outputs(layer) is None:
        return "the kernel, or the bias, in front lacks the last axis of the outputs"
    return None


def _axis_of_outputs(layer: keras.layers.Layer) -> int | None:
    """The axis of an einsum's kernel that is the last one of the outputs; None: it has none.

    A bias must have it, too.
    """
    operands, outputs = layer.equation.replace(" ", "").split("->")
    last, kernel = outputs[-1], operands.split(",")[1]
    has_bias = layer.bias is not None
    if last == "." or last not in kernel or (has_bias and last not in layer.bias_axes):
        return None
    return int(kernel.index(last))


def _kernel(layer: keras.layers.Layer) -> keras.Variable:
    return layer.pointwise_kernel if keras_type(layer) in SEPARABLE else layer.kernel


def _changed(layer: keras.layers.Layer) -> list[keras.Variable]:
    return [_kernel(layer), *([] if layer.bias is None else [layer.bias])]


def _fold(normalization: keras.layers.Layer, layer: keras.layers.Layer) -> None:
    """Multiplies the kernel. The bias takes the rest, or, where there is none, the normalization.

    As Keras computes it: gamma * (x - mean) / sqrt(variance + epsilon) + beta, in float64.
    """
    mean, variance = (
        to_numpy(each).astype("float64")
        for each in (normalization.moving_mean, normalization.moving_variance)
    )
    scale = 1 / np.sqrt(variance + normalization.epsilon)
    if normalization.scale:
        scale = scale * to_numpy(normalization.gamma)
    shift = -mean * scale
    if normalization.center:
        shift = shift + to_numpy(normalization.beta)
    kernel = _kernel(layer)
    values = to_numpy(kernel).astype("float64")
    kernel.assign((values * _by_output(layer, scale, values.shape)).astype("float32"))
    object.__setattr__(normalization, "__class__", _FoldedNormalization)
    normalization.adds = layer.bias is None
    if layer.bias is None:
        normalization.moving_mean.assign(shift.astype("float32"))
    else:
        layer.bias.assign((to_numpy(layer.bias) * scale + shift).astype("float32"))


def _by_output(layer: keras.layers.Layer, scale: Any, shape: tuple[int, ...]) -> Any:
    """A factor for each output channel, on the kernel's axes."""
    kind = keras_type(layer)
    if kind in DEPTHWISE:  # (..., input channels, outputs of each)
        return scale.reshape(shape[-2:])
    if kind is layers.EinsumDense:
        axis = _axis_of_outputs(layer)
        return scale.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return scale[:, None] if kind in TRANSPOSED else scale


class _FoldedNormalization(layers.BatchNormalization):
    """What a folded normalization still does. ``moving_mean`` is what it adds, if it ``adds``."""

    adds: bool

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if not self.adds:
            return inputs
        shift = ops.cast(self.moving_mean, inputs.dtype)
        shape = [1] * len(inputs.shape)
        shape[self.axis] = -1
        return ops.add(inputs, ops.reshape(shift, shape))
