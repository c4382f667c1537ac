"""A convolution and a matrix product with a sparse kernel: a compiled op, or Keras' operation."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse.compute.gpu import block_of, has_gpu, why_not_faster, why_not_on_gpu
from keras_sparse.compute.gradients import custom_ops
from keras_sparse.compute.library import Availability, available
from keras_sparse.rules.blocks import BlockShape, check_block_shape

__all__ = [
    "Availability",
    "available",
    "sparse_conv2d",
    "sparse_matmul",
    "why_stock_conv2d",
    "why_stock_matmul",
]

IMPLEMENTATIONS = ("auto", "custom_op", "stock")
Shape = tuple[int | None, ...]

available()  # not later: XLA learns only of ops that are loaded before TensorFlow runs its first function


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
        inputs: float tensor, (batch, height, width, channels); (batch, channels, height, width) for "channels_first".
        kernel: float tensor, (height, width, channels // groups, output channels).
        mask: bool tensor of the kernel's shape, True = active.
        strides: an int, or one each for height and width.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"``, ``"channels_first"``, or None for Keras' default.
        dilation_rate: an int, or one each for height and width.
        dense_weight_gradient: bool, bool tensor or variable: is the gradient by the kernel dense? Else it is that of the
            active weights, and 0 for all others. A tensor or variable is read at run time.
        implementation: ``"custom_op"``; ``"stock"``, the operations of Keras; ``"auto"``: the custom op where it can, on GPUs
            where it has been measured to be faster.
        name: of the layer. Eagerly, layers with names of their own keep what they computed of their masks.
        block_shape: (in, out) channels of the blocks that the mask is made of, None for single weights. It chooses the kernel on
            GPUs; the result is right for every mask.

    Returns:
        Float tensor, (batch, out height, out width, output channels), or with the channels first.

    Raises:
        ValueError: arguments that do not fit; ``implementation="custom_op"`` where it cannot run, with the reason.

    >>> images, kernel = np.ones((2, 8, 8, 16), "float32"), np.ones((3, 3, 16, 32), "float32")
    >>> outputs = ks.ops.sparse_conv2d(images, kernel, mask=kernel > 2, padding="same")
    >>> tuple(outputs.shape), float(keras.ops.sum(outputs))
    ((2, 8, 8, 32), 0.0)
    """
    inputs, kernel, mask = (ops.convert_to_tensor(tensor) for tensor in (inputs, kernel, mask))
    data_format = data_format or keras.config.image_data_format()
    steps, dilation = _pair("strides", strides), _pair("dilation_rate", dilation_rate)
    _check_conv2d(inputs, kernel, mask, steps, padding, data_format, dilation)
    dtype = _dtype(inputs, kernel)
    why = why_stock_conv2d(
        dtype,
        data_format,
        dilation,
        _groups(inputs, kernel, data_format),
        check_block_shape(block_shape),
    )
    if _stock(
        implementation, why or _why_not_whole(kernel, block_shape), kernel, dtype, block_shape
    ):
        effective = _effective(kernel, mask, dense_weight_gradient)
        return ops.conv(inputs, effective, steps, padding, data_format, dilation)
    wanted = ops.convert_to_tensor(dense_weight_gradient, "bool")
    options = {
        "strides": steps,
        "padding": padding.upper(),
        "layer": name,
        "block": block_of(block_shape),
    }
    return custom_ops().keras_sparse_conv2d(inputs, kernel, mask, wanted, **options)


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
        ValueError: arguments that do not fit; ``implementation="custom_op"`` where it cannot run, with the reason.

    >>> inputs, kernel = np.ones((2, 3), "float32"), np.ones((3, 4), "float32")
    >>> outputs = ks.ops.sparse_matmul(inputs, kernel, mask=np.eye(3, 4, dtype="bool"))
    >>> keras.ops.convert_to_numpy(outputs)
    array([[1., 1., 1., 0.],
           [1., 1., 1., 0.]], dtype=float32)
    """
    inputs, kernel, mask = (ops.convert_to_tensor(tensor) for tensor in (inputs, kernel, mask))
    _check_matmul(inputs, kernel, mask)
    dtype = _dtype(inputs, kernel)
    why = why_stock_matmul(dtype, check_block_shape(block_shape))
    if _stock(
        implementation, why or _why_not_whole(kernel, block_shape), kernel, dtype, block_shape
    ):
        return ops.matmul(inputs, _effective(kernel, mask, dense_weight_gradient))
    wanted = ops.convert_to_tensor(dense_weight_gradient, "bool")
    shape, block = _shape(inputs), block_of(block_shape)
    if shape is not None and len(shape) == 2:
        return custom_ops().keras_sparse_mat_mul(
            inputs, kernel, mask, wanted, layer=name, block=block
        )
    return _in_rows(
        inputs,
        kernel,
        lambda rows: custom_ops().keras_sparse_mat_mul(
            rows, kernel, mask, wanted, layer=name, block=block
        ),
    )


def why_stock_conv2d(
    dtype: str,
    data_format: str,
    dilation_rate: int | Sequence[int],
    groups: int,
    block_shape: BlockShape = None,
) -> str | None:
    """Why the custom op cannot compute such a convolution, or None if it can.

    Args:
        dtype: of inputs and kernel, e.g. "float32".
        data_format: ``"channels_last"`` or ``"channels_first"``.
        dilation_rate: an int, or one each for height and width.
        groups: in how many groups the channels are convolved.
        block_shape: (in, out) channels of the mask's blocks, None for single weights.

    >>> ks.ops.why_stock_conv2d("float16", "channels_last", 1, 1) is None
    False
    """
    if (why := why_stock_matmul(dtype, block_shape)) is not None:
        return why
    if data_format != "channels_last":
        return f"data_format is {data_format}, not channels_last"
    if _pair("dilation_rate", dilation_rate) != (1, 1):
        return f"dilation_rate is {dilation_rate}, not 1"
    return None if groups == 1 else f"groups is {groups}, not 1"


def why_stock_matmul(dtype: str, block_shape: BlockShape = None) -> str | None:
    """Why the custom op cannot compute a matrix product of this dtype, with such masks, or None if it can.

    >>> ks.ops.why_stock_matmul("float16") is None
    False
    """
    if not (now := available()):
        return f"the compiled ops are {now}"
    if _under_tpu_strategy():
        return "the model is under a TPUStrategy, and the compiled ops are for CPUs and GPUs"
    if has_gpu():
        return why_not_on_gpu(dtype, block_shape)
    return None if dtype == "float32" else f"dtype is {dtype}, not float32"


def _under_tpu_strategy() -> bool:
    """Then TensorFlow would run ops that it does not know on the host, in the middle of the TPUs' step."""
    import tensorflow as tf

    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


def _stock(
    implementation: str, why: str | None, kernel: Any, dtype: str, block_shape: BlockShape
) -> bool:
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"`implementation` must be one of {IMPLEMENTATIONS}. Received: implementation={implementation!r}"
        )
    if implementation == "custom_op" and why is not None:
        raise ValueError(
            f'`implementation` must be "auto" or "stock" here: {why}. Received: implementation={implementation!r}'
        )
    if implementation == "stock" or why is not None:
        return True
    return (
        implementation == "auto"
        and has_gpu()
        and why_not_faster(_known(kernel), dtype, block_shape) is not None
    )


def _known(kernel: Any) -> tuple[int, ...]:
    """The shape of a kernel, with 0 for what is not known."""
    return tuple(n or 0 for n in _shape(kernel) or (0, 0))


def _why_not_whole(kernel: Any, block_shape: BlockShape) -> str | None:
    """Kernels for blocks ask for whole ones."""
    block, weights = block_of(block_shape), _known(kernel)
    if block <= 1 or not has_gpu() or not any(n % block for n in weights[-2:]):
        return None
    return f"the channels of a kernel of shape {weights} are not whole blocks of {block}"


def _effective(kernel: Any, mask: Any, dense_weight_gradient: Any) -> Any:
    """kernel * mask, whose gradient by the kernel is dense if that is wanted."""
    mask = ops.cast(mask, kernel.dtype)
    if dense_weight_gradient is False:
        return kernel * mask
    wanted = ops.cast(ops.convert_to_tensor(dense_weight_gradient, "bool"), kernel.dtype)
    passes = kernel * ops.maximum(mask, wanted)
    return passes + ops.stop_gradient(kernel * mask - passes)


def _in_rows(inputs: Any, kernel: Any, product: Any) -> Any:
    """The product of (..., in) as that of (rows, in). -1 will not do: it is ambiguous where there is nothing."""
    shape = ops.shape(inputs) if _shape(inputs) is not None else None
    if shape is None:
        return _in_rows_of_any_rank(inputs, kernel, product)
    rows = 1
    for size in shape[:-1]:
        rows = rows * size
    return ops.reshape(
        product(ops.reshape(inputs, (rows, shape[-1]))), (*shape[:-1], ops.shape(kernel)[1])
    )


def _in_rows_of_any_rank(inputs: Any, kernel: Any, product: Any) -> Any:
    import tensorflow as tf

    leading, last = tf.shape(inputs)[:-1], tf.shape(inputs)[-1]
    outputs = product(tf.reshape(inputs, tf.stack([tf.reduce_prod(leading), last])))
    return tf.reshape(outputs, tf.concat([leading, tf.shape(kernel)[1:]], 0))


# --- what static shapes tell


def _shape(tensor: Any) -> Shape | None:
    """None if not even the rank is known."""
    return None if getattr(tensor.shape, "rank", 0) is None else tuple(tensor.shape)


def _dtype(inputs: Any, kernel: Any) -> str:
    """The dtype of both, or the one that is not float32."""
    dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in (inputs, kernel)]
    return next((dtype for dtype in dtypes if dtype != "float32"), "float32")


def _pair(argument: str, value: int | Sequence[int]) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(number, int) and number >= 1 for number in pair):
        raise ValueError(
            f"`{argument}` must be one or two ints of at least 1. Received: {argument}={value}"
        )
    return pair[0], pair[1]


def _groups(inputs: Any, kernel: Any, data_format: str) -> int:
    """1 where the number of channels is not known."""
    shape, weights = _shape(inputs), _shape(kernel)
    channels = shape and shape[-1 if data_format == "channels_last" else 1]
    return channels // weights[2] if channels and weights and weights[2] else 1


def _check_mask(kernel: Any, mask: Any, rank: int, axes: str) -> None:
    if keras.backend.standardize_dtype(mask.dtype) != "bool":
        raise ValueError(
            f"`mask` must be bool. Received: mask.dtype={keras.backend.standardize_dtype(mask.dtype)}"
        )
    shapes = _shape(kernel), _shape(mask)
    if shapes[0] is not None and len(shapes[0]) != rank:
        raise ValueError(f"`kernel` must have the shape {axes}. Received: kernel.shape={shapes[0]}")
    if None not in shapes and not _may_be_equal(*shapes):
        raise ValueError(
            f"`mask` must have the shape of `kernel`, {shapes[0]}. Received: mask.shape={shapes[1]}"
        )


def _may_be_equal(one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(
        a == b or a is None or b is None for a, b in zip(one, other, strict=True)
    )


def _check_matmul(inputs: Any, kernel: Any, mask: Any) -> None:
    _check_mask(kernel, mask, 2, "(in, out)")
    shape, weights = _shape(inputs), _shape(kernel)
    if shape is not None and not shape:
        raise ValueError("`inputs` must have the shape (..., in). Received: inputs.shape=()")
    if shape and weights and not _may_be_equal(shape[-1:], weights[:1]):
        raise ValueError(
            f"`kernel` must have the {shape[-1]} channels of the inputs in its first axis. Received: kernel.shape={weights}"
        )


def _check_conv2d(
    inputs: Any, kernel: Any, mask: Any, strides: Any, padding: str, data_format: str, dilation: Any
) -> None:
    _check_mask(kernel, mask, 4, "(height, width, channels, output channels)")
    if padding not in ("valid", "same"):
        raise ValueError(f'`padding` must be "valid" or "same". Received: padding={padding!r}')
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f'`data_format` must be "channels_last" or "channels_first". Received: data_format={data_format!r}'
        )
    shape, weights = _shape(inputs), _shape(kernel)
    if shape is not None and len(shape) != 4:
        raise ValueError(
            f"`inputs` must have four axes: batch, height, width and channels. Received: inputs.shape={shape}"
        )
    if shape and weights:
        _check_fit(shape, weights, padding, data_format == "channels_last", dilation)


def _check_fit(
    shape: Shape, weights: Shape, padding: str, channels_last: bool, dilation: tuple[int, int]
) -> None:
    sizes, channels = (shape[1:3], shape[3]) if channels_last else (shape[2:], shape[1])
    if (
        channels is not None
        and weights[2] is not None
        and (channels % weights[2] if weights[2] else channels)
    ):
        raise ValueError(
            f"`kernel` must have the {channels} channels of the inputs in its third axis, or a divisor. Received: kernel.shape={weights}"
        )
    for size, taps, rate in zip(sizes, weights[:2], dilation, strict=True):
        if (
            padding == "valid"
            and size is not None
            and taps is not None
            and (taps - 1) * rate >= size
        ):
            raise ValueError(
                f'`kernel` must fit into the inputs, of shape {shape}, for padding "valid". Received: kernel.shape={weights}'
            )
