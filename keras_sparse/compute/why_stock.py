"""Why the custom op cannot compute a convolution or a matrix product of given arguments."""

from collections.abc import Sequence

from keras_sparse.compute.choice import choose
from keras_sparse.compute.product import Product, pair
from keras_sparse.rules.structure import BlockShape
from keras_sparse.rules.structure_arguments import as_structure


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

    >>> ks.ops.why_stock_conv2d("float64", "channels_last", 1, 1) is None
    False
    """
    product = Product(
        "conv2d",
        (None,) * 4,
        dtype,
        data_format=data_format,
        dilation=pair("dilation_rate", dilation_rate),
        groups=groups,
        structure=as_structure(block_shape),
    )
    return choose(product, "custom_op").why


def why_stock_matmul(dtype: str, block_shape: BlockShape = None) -> str | None:
    """Why the custom op cannot compute a matrix product of this dtype and masks, or None.

    >>> ks.ops.why_stock_matmul("float64") is None
    False
    """
    return choose(
        Product("matmul", (None, None), dtype, structure=as_structure(block_shape)), "custom_op"
    ).why
