"""Which weights of a quantized kernel are not 0, where a byte holds two, or 0 is another number.

Keras packs the 4-bit weights of ``"int4"``, GPTQ and AWQ in pairs. A zero point for each group of
inputs is the number that stands for 0.
"""

from typing import Any

import keras
import numpy as np

from keras_sparse._keras import to_numpy

PACKED = ("int4", "gptq", "awq")


def nonzero_of_quantized(layer: keras.layers.Layer) -> np.ndarray | None:
    """Bool array of the shape that the kernel had, of a layer that Keras has quantized.

    None for other layers, whose variable has an element for each weight: ``"int8"`` and
    ``"float8"`` included, and GPTQ and AWQ before their calibration.
    """
    mode = getattr(layer, "quantization_mode", None)
    if mode not in PACKED or not _is_calibrated(layer, mode):
        return None
    numbers, shape = to_numpy(layer.kernel), _shape(layer)
    if mode == "int4":
        return is_nonzero(numbers.reshape(-1, _columns(layer)), *_zeros(layer)).reshape(shape)
    zero, groups = _zeros(layer)  # these kernels are (outputs, inputs)
    transposed = None if zero is None else zero.T
    return is_nonzero(numbers.T, transposed, groups).reshape(shape)


def is_packed(layer: keras.layers.Layer, variable: Any) -> bool:
    """Is this a variable whose bytes are no weights?"""
    is_quantized = getattr(layer, "quantization_mode", None) in PACKED
    return is_quantized and keras.backend.standardize_dtype(variable.dtype) in ("int8", "uint8")


def is_nonzero(
    numbers: np.ndarray, zero: np.ndarray | None, groups: np.ndarray | None
) -> np.ndarray:
    """Bool array: is a weight other than 0?

    Args:
        numbers: unpacked, (inputs, outputs).
        zero: zero points, (groups, outputs); None: 0 is 0.
        groups: the group of each input.

    >>> is_nonzero(np.array([[3, 1], [2, 0]]), np.array([[3, 0]]), np.array([0, 0]))
    array([[False,  True],
           [ True, False]])
    """
    zeros: Any = 0 if zero is None or groups is None else zero[groups.astype(np.int64)]
    return np.not_equal(numbers, zeros)


def _is_calibrated(layer: Any, mode: str) -> bool:
    return mode == "int4" or bool(getattr(layer, f"is_{mode}_calibrated", False))


def _shape(layer: Any) -> tuple[int, ...]:
    """The shape of the kernel before it was quantized."""
    if isinstance(layer, keras.layers.EinsumDense):
        return tuple(layer.original_kernel_shape)
    kernel = to_numpy(layer.kernel).shape
    return kernel if layer.quantization_mode == "int4" else kernel[::-1]


def _columns(layer: Any) -> int:
    return int(layer.kernel_scale.shape[-1])


def _zeros(layer: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    if getattr(layer, "kernel_zero", None) is None:
        return None, None
    return to_numpy(layer.kernel_zero), to_numpy(layer.g_idx)
