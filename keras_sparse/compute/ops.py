"""A convolution and a matrix product with a sparse kernel: a compiled op, or Keras' operation."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.backend import standardize_dtype

from keras_sparse._keras import static_value
from keras_sparse.compute.autograph import as_written
from keras_sparse.compute.choice import choose, choose_or_raise
from keras_sparse.compute.library import Availability, available
from keras_sparse.compute.masked_gradient import masked_kernel
from keras_sparse.compute.op_arguments import check_conv2d, check_matmul
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product, pair, promoted, sizes_of, static_shape
from keras_sparse.compute.why_stock import why_stock_conv2d, why_stock_matmul
from keras_sparse.rules.structure import BlockShape
from keras_sparse.rules.structure_arguments import as_structure

__all__ = [
    "Availability",
    "available",
    "sparse_conv2d",
    "sparse_matmul",
    "why_stock_conv2d",
    "why_stock_matmul",
]

available()  # not later: XLA knows only ops loaded before TensorFlow runs its first function


@as_written
def sparse_conv2d(
    inputs: Any,
    kernel: Any,
    mask: Any,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
    dense_weight_gradient: Any = True,
    implementation: str = "auto",
    name: str = "",
    block_shape: BlockShape = None,
) -> Any:
    """keras.ops.conv(inputs, kernel * mask), at the cost of the active weights alone.

    Args:
        inputs: float tensor, (batch, height, width, channels); (batch, channels, height, width)
            for "channels_first".
        kernel: float tensor, (height, width, channels // groups, output channels).
        mask: bool tensor of the kernel's shape, True = active.
        strides: an int, or one each for height and width.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"``, ``"channels_first"``, or None for Keras' default.
        dilation_rate: an int, or one each for height and width.
        dense_weight_gradient: bool, bool tensor or variable: True: the gradient by the kernel is
            dense; False: it is 0 for missing weights. A tensor or variable is read at run time.
        implementation: ``"custom_op"``; ``"stock"``, the operations of Keras; ``"auto"``: the
            custom op where it is faster at the mask's density, as in a sparse layer. In a graph,
            each run counts the active weights of a mask that is not a constant; in wide dense
            layers this takes time, and ``"custom_op"`` or a sparse layer saves it.
        name: the layer's name. Eagerly, the ops keep the plan of each mask by this name.
        block_shape: (in, out) channels of the blocks that the mask consists of; None: single
            weights. It selects the kernel on GPUs, and the break-even density of ``"auto"``. The
            result is right for every mask.

    Returns:
        Float tensor, (batch, out height, out width, output channels), or with the channels first.

    Raises:
        ValueError: arguments that do not fit; ``implementation="custom_op"`` where it cannot run,
            with the reason.

    >>> images, kernel = np.ones((2, 8, 8, 16), "float32"), np.ones((3, 3, 16, 32), "float32")
    >>> outputs = ks.ops.sparse_conv2d(images, kernel, mask=kernel > 2, padding="same")
    >>> tuple(outputs.shape), float(keras.ops.sum(outputs))
    ((2, 8, 8, 32), 0.0)
    """
    inputs, kernel, mask = (ops.convert_to_tensor(tensor) for tensor in (inputs, kernel, mask))
    data_format = keras.config.image_data_format() if data_format is None else data_format
    steps, dilation = pair("strides", strides), pair("dilation_rate", dilation_rate)
    check_conv2d(inputs, kernel, mask, padding, data_format, dilation)
    product = Product(
        "conv2d",
        _known_sizes(kernel, 4),
        " and ".join(dict.fromkeys(standardize_dtype(x.dtype) for x in (inputs, kernel))),
        strides=steps,
        padding=padding,
        data_format=data_format,
        dilation=dilation,
        groups=_groups(inputs, kernel, data_format),
        structure=as_structure(block_shape),
    )

    def stock(masked: Any) -> Any:
        return ops.conv(inputs, masked, steps, padding, data_format, dilation)

    return _compute(
        product, inputs, kernel, mask, dense_weight_gradient, implementation, name, stock
    )


@as_written
def sparse_matmul(
    inputs: Any,
    kernel: Any,
    mask: Any,
    dense_weight_gradient: Any = True,
    implementation: str = "auto",
    name: str = "",
    block_shape: BlockShape = None,
) -> Any:
    """keras.ops.matmul(inputs, kernel * mask), at the cost of the active weights alone.

    Args:
        inputs: float tensor, (..., in).
        kernel: float tensor, (in, out).
        mask: bool tensor of the kernel's shape, True = active.
        dense_weight_gradient: as for ``sparse_conv2d``.
        implementation: as for ``sparse_conv2d``.
        name: as for ``sparse_conv2d``.
        block_shape: as for ``sparse_conv2d``.

    Returns:
        Float tensor, (..., out).

    Raises:
        ValueError: arguments that do not fit; ``implementation="custom_op"`` where it cannot run,
            with the reason.

    >>> inputs, kernel = np.ones((2, 3), "float32"), np.ones((3, 4), "float32")
    >>> outputs = ks.ops.sparse_matmul(inputs, kernel, mask=np.eye(3, 4, dtype="bool"))
    >>> keras.ops.convert_to_numpy(outputs)
    array([[1., 1., 1., 0.],
           [1., 1., 1., 0.]], dtype=float32)
    """
    inputs, kernel, mask = (ops.convert_to_tensor(tensor) for tensor in (inputs, kernel, mask))
    check_matmul(inputs, kernel, mask)
    dtype = promoted(inputs.dtype, kernel.dtype)
    structure = as_structure(block_shape)
    product = Product("matmul", _known_sizes(kernel, 2), dtype, structure=structure)
    stock = functools.partial(ops.matmul, inputs)
    return _compute(
        product, inputs, kernel, mask, dense_weight_gradient, implementation, name, stock
    )


def _compute(
    product: Product,
    inputs: Any,
    kernel: Any,
    mask: Any,
    dense_weight_gradient: Any,
    implementation: str,
    name: str,
    stock: Callable[[Any], Any],
) -> Any:
    """The product by whom ``choose`` says: ``stock`` takes kernel * mask."""
    product = product.on(static_shape(inputs))
    choice = choose_or_raise(product, implementation)
    if implementation == "auto" and not choice.is_stock and product.positions == math.inf:
        choice = choose(product.on(sizes_of(inputs)), implementation)
    return choice.run(
        lambda: _density(mask),
        lambda: call_custom_op(product, inputs, kernel, mask, dense_weight_gradient, name),
        lambda: stock(masked_kernel(kernel, mask, dense_weight_gradient)),
    )


def _density(mask: Any) -> Any:
    """Active / all weights of a mask: a number where its values are known, else a tensor.

    A layer keeps the density beside its mask. Here the mask may be anybody's variable, whose
    changes nobody announces: so it is counted in each run. That was measured on one busy core (Zen
    5, density 0.05). It took 0.4 % of a 3x3 convolution's step (256 > 256, 32 images of 14x14). It
    took 10 % of that of a dense layer of 1024 > 1024 (batch 128), and 26 % of one of 4096 > 4096.
    """
    values = static_value(mask)
    if values is None:
        return ops.mean(ops.cast(mask, "float32"))
    return np.count_nonzero(values) / max(1, values.size)


def _known_sizes(kernel: Any, rank: int) -> tuple[int | None, ...]:
    return static_shape(kernel) or (None,) * rank


def _groups(inputs: Any, kernel: Any, data_format: str) -> int:
    """1 where the number of channels is not known."""
    shape, weights = static_shape(inputs), static_shape(kernel)
    channels = shape and shape[-1 if data_format == "channels_last" else 1]
    return channels // weights[2] if channels and weights and weights[2] else 1
