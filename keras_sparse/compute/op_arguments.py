"""Checks of the arguments of sparse_conv2d and sparse_matmul, by their static shapes.

The compiled ops check the rest when they run.
"""

from typing import Any

import keras

from keras_sparse.compute.product import Shape, static_shape
from keras_sparse.rules.flags import check_word


def check_matmul(inputs: Any, kernel: Any, mask: Any) -> None:
    """Raises ValueError unless these are a matrix product's."""
    _check_mask(kernel, mask, 2, "(in, out)")
    shape, weights = static_shape(inputs), static_shape(kernel)
    if shape is not None and not shape:
        raise ValueError("`inputs` must have the shape (..., in). Received: inputs.shape=()")
    if shape and weights and not _may_be_equal(shape[-1:], weights[:1]):
        raise ValueError(
            f"`kernel` must have the {shape[-1]} channels of the inputs in its first axis. "
            f"Received: kernel.shape={weights}"
        )


def check_conv2d(
    inputs: Any, kernel: Any, mask: Any, padding: str, data_format: str, dilation: tuple[int, int]
) -> None:
    """Raises ValueError unless these are a convolution's."""
    _check_mask(kernel, mask, 4, "(height, width, channels, output channels)")
    check_word("padding", padding, "valid", "same")
    check_word("data_format", data_format, "channels_last", "channels_first")
    shape, weights = static_shape(inputs), static_shape(kernel)
    if shape is not None and len(shape) != 4:
        raise ValueError(
            "`inputs` must have four axes: batch, height, width and channels. "
            f"Received: inputs.shape={shape}"
        )
    if shape and weights:
        is_last = data_format == "channels_last"
        sizes, channels = (shape[1:3], shape[3]) if is_last else (shape[2:], shape[1])
        _check_channels(channels, weights)
        if padding == "valid":
            _check_fit(shape, sizes, weights, dilation)


def _check_mask(kernel: Any, mask: Any, rank: int, axes: str) -> None:
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if dtype != "bool":
        raise ValueError(f"`mask` must be bool. Received: mask.dtype={dtype}")
    weights, shape = static_shape(kernel), static_shape(mask)
    if weights is not None and len(weights) != rank:
        raise ValueError(f"`kernel` must have the shape {axes}. Received: kernel.shape={weights}")
    if weights is not None and shape is not None and not _may_be_equal(weights, shape):
        raise ValueError(
            f"`mask` must have the shape of `kernel`, {weights}. Received: mask.shape={shape}"
        )


def _check_channels(channels: int | None, weights: Shape) -> None:
    if channels is None or weights[2] is None:
        return
    if channels % weights[2] if weights[2] else channels:
        raise ValueError(
            f"`kernel` must have the {channels} channels of the inputs in its third axis, or a "
            f"divisor. Received: kernel.shape={weights}"
        )


def _check_fit(shape: Shape, sizes: Shape, weights: Shape, dilation: tuple[int, int]) -> None:
    for size, taps, rate in zip(sizes, weights[:2], dilation, strict=True):
        if size is not None and taps is not None and (taps - 1) * rate >= size:
            raise ValueError(
                f'`kernel` must fit into the inputs, of shape {shape}, for padding "valid". '
                f"Received: kernel.shape={weights}"
            )


def _may_be_equal(one: Shape, other: Shape) -> bool:
    return len(one) == len(other) and all(
        a == b or a is None or b is None for a, b in zip(one, other, strict=True)
    )
