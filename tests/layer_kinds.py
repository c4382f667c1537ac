"""The sparse layers, one row each; tests/test_layer_conformance.py checks every row."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

import keras_sparse as ks

L, S = keras.layers, ks.layers


@dataclasses.dataclass(frozen=True)
class Kind:
    """One sparse layer beside its Keras layer.

    Attributes:
        dense: makes the Keras layer; takes keyword arguments such as ``name``.
        sparse: makes the sparse layer with the same arguments.
        shape: shape of one input; batch 1 runs the stock operation, batch 128 the custom op.
        kernels: names of the masked weights, in the order of ``layer.weights``.
        call: calls the layer on a batch of inputs.
        felt: the index of a kernel that the outputs always depend on.
    """

    dense: Callable[..., Any]
    sparse: Callable[..., Any]
    shape: tuple[int, ...]
    kernels: tuple[str, ...] = ("kernel",)
    call: Callable[[Any, Any], Any] = lambda layer, inputs: layer(inputs)
    felt: int = 0


def kind(
    name: str,
    shape: tuple[int, ...],
    *args: Any,
    about: dict[str, Any] | None = None,
    **kwargs: Any,
) -> Kind:
    """A row: class, input shape and arguments of a layer; ``about`` has fields of ``Kind``."""

    def make(module: Any, class_name: str) -> Callable[..., Any]:
        return lambda **more: getattr(module, class_name)(*args, **{**kwargs, **more})

    return Kind(make(L, name), make(S, f"Sparse{name}"), shape, **(about or {}))


POINTWISE = {"kernels": ("pointwise_kernel",)}
RECURRENT = {"kernels": ("kernel", "recurrent_kernel")}
ATTENTION = {
    "kernels": ("kernel",) * 4,
    "call": lambda layer, inputs: layer(inputs, inputs),
    "felt": 3,
}
KINDS = {
    "Conv1D": kind("Conv1D", (24, 32), 32, 5, strides=2, activation="tanh"),
    "Conv2D": kind("Conv2D", (6, 6, 16), 32, 3, activation="tanh"),
    "Conv2DTranspose": kind("Conv2DTranspose", (4, 4, 32), 32, 3, strides=2, activation="tanh"),
    "Conv3D": kind("Conv3D", (3, 6, 6, 16), 32, (1, 3, 3), activation="tanh"),
    "Dense": kind("Dense", (4, 64), 256, activation="tanh"),
    "EinsumDense": kind(
        "EinsumDense", (4, 64), "abc,cde->abde", (4, 4, 64), bias_axes="de", activation="tanh"
    ),
    "LSTM": kind("LSTM", (4, 64), 32, return_sequences=True, about=RECURRENT),
    "MultiHeadAttention": kind("MultiHeadAttention", (4, 64), 4, 64, about=ATTENTION),
    "SeparableConv2D": kind(
        "SeparableConv2D", (6, 6, 64), 64, 3, activation="tanh", about=POINTWISE
    ),
}
# Other settings, and layers that share all code with one above: their values alone are tested.
VARIANTS = {
    "Conv1D causal": kind("Conv1D", (16, 32), 32, 5, padding="causal"),
    "Conv1DTranspose": kind(
        "Conv1DTranspose", (16, 32), 32, 4, strides=3, padding="same", output_padding=1
    ),
    "Conv1D causal, dilated": kind("Conv1D", (40, 32), 32, 5, padding="causal", dilation_rate=3),
    "Conv1D in groups": kind("Conv1D", (24, 32), 64, 3, groups=8, padding="causal"),
    "Conv2D in groups": kind("Conv2D", (8, 9, 16), 32, 3, groups=2, strides=2, padding="same"),
    "Conv2D dilated": kind("Conv2D", (12, 9, 16), 32, 3, padding="same", dilation_rate=(4, 2)),
    "Conv2DTranspose dilated": kind(
        "Conv2DTranspose", (6, 6, 32), 32, 3, padding="same", dilation_rate=2
    ),
    "Conv2D strided": kind("Conv2D", (9, 9, 16), 32, (3, 2), strides=2, padding="same"),
    "Conv3D along a line": kind(
        "Conv3D", (7, 8, 5, 16), 32, (3, 1, 1), strides=(2, 2, 1), padding="same"
    ),
    "Conv3D of points": kind("Conv3D", (5, 6, 5, 16), 32, 1, strides=(2, 1, 1)),
    "EinsumDense of heads": kind("EinsumDense", (8, 4, 16), "abde,dec->acb", (64, 8)),
    "GRU": kind("GRU", (4, 64), 48, return_sequences=True, about=RECURRENT),
    "GRU of parts": kind("GRU", (4, 64), 48, reset_after=False, about=RECURRENT),
    "GroupQueryAttention": kind("GroupQueryAttention", (4, 64), 64, 4, 2, about=ATTENTION),
    "LSTM backwards": kind(
        "LSTM", (4, 64), 32, go_backwards=True, use_bias=False, unroll=True, about=RECURRENT
    ),
    "SeparableConv1D": kind(
        "SeparableConv1D", (32, 64), 64, 3, strides=2, padding="same", about=POINTWISE
    ),
    "SimpleRNN": kind("SimpleRNN", (4, 128), 64, about=RECURRENT),
}
