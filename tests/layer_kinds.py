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
    """

    dense: Callable[..., Any]
    sparse: Callable[..., Any]
    shape: tuple[int, ...]
    kernels: tuple[str, ...] = ("kernel",)


def kind(
    name: str, shape: tuple[int, ...], *args: Any, kernels: Any = ("kernel",), **kw: Any
) -> Kind:
    def make(module: Any, class_name: str) -> Callable[..., Any]:
        return lambda **more: getattr(module, class_name)(*args, **{**kw, **more})

    return Kind(make(L, name), make(S, f"Sparse{name}"), shape, kernels)


KINDS = {
    "Conv2D": kind("Conv2D", (6, 6, 16), 32, 3, activation="tanh"),
    "Conv2D strided": kind("Conv2D", (9, 9, 16), 32, (3, 2), strides=2, padding="same"),
    "Dense": kind("Dense", (4, 64), 256, activation="tanh"),
}
