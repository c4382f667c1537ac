"""The compiled ops compute a ``Product``: the one place that calls them."""

import dataclasses
from typing import Any

from keras import ops
from keras.backend import standardize_dtype

from keras_sparse.compute.gpu_structure import kernel_structure
from keras_sparse.compute.gradients import custom_ops
from keras_sparse.compute.product import Product, static_shape


def call_custom_op(
    product: Product, inputs: Any, kernel: Any, mask: Any, dense_weight_gradient: Any, layer: str
) -> Any:
    """The product, at the cost of the active weights alone.

    Args:
        product: of a form that has a compiled kernel.
        inputs: tensor, as ``keras.ops.conv`` or ``keras.ops.matmul`` takes it.
        kernel: float tensor of ``product.kernel_shape``.
        mask: bool tensor of the same shape.
        dense_weight_gradient: bool or bool scalar tensor: do missing weights get a gradient?
        layer: a name, by which the op keeps what it computed of the mask.

    Returns:
        Float tensor of the outputs.
    """
    inputs, kernel = _in_dtype(product.dtype, inputs), _in_dtype(product.dtype, kernel)
    wanted = dense_weight_gradient
    if not isinstance(wanted, bool):
        wanted = ops.convert_to_tensor(wanted, "bool")
    attributes = {"layer": layer, "keeps_values": not product.trains, **_common_attributes(product)}
    if product.kind == "conv2d":
        attributes |= _window_attributes(product)
        if product.groups > 1:
            kernel, mask = (_ungrouped(one, product.groups) for one in (kernel, mask))
        return custom_ops().keras_sparse_conv2d(inputs, kernel, mask, wanted, **attributes)

    def product_of_rows(rows: Any) -> Any:
        return custom_ops().keras_sparse_mat_mul(rows, kernel, mask, wanted, **attributes)

    shape = static_shape(inputs)
    if shape is None or len(shape) < 2:
        return _in_rows(inputs, kernel, product_of_rows)
    return product_of_rows(inputs)


def call_transposed(
    product: Product,
    inputs: Any,
    kernel: Any,
    mask: Any,
    dense_weight_gradient: Any,
    layer: str,
    output_shape: Any,
) -> Any:
    """The transposed convolution: the gradient, by its inputs, of the convolution ``product``.

    Args:
        product: a convolution of the outputs, whose outputs have the shape of ``inputs``.
        inputs: (batch, height, width, channels).
        kernel: (height, width, output channels, channels).
        mask: as for ``call_custom_op``.
        dense_weight_gradient: as for ``call_custom_op``.
        layer: as for ``call_custom_op``.
        output_shape: sizes of the outputs, ints or tensors.

    Returns:
        Float tensor of ``output_shape``.
    """
    import tensorflow as tf

    wanted = ops.convert_to_tensor(dense_weight_gradient, "bool")
    # The op reads the shape alone.
    outputs = tf.raw_ops.Empty(shape=tf.stack(output_shape), dtype=inputs.dtype, init=False)
    return custom_ops().keras_sparse_conv2d_input_gradient(
        outputs,
        kernel,
        mask,
        inputs,
        wanted,
        layer=layer,
        keeps_values=not product.trains,
        **_common_attributes(product),
        **_window_attributes(product),
    )


def _ungrouped(tensor: Any, groups: int) -> Any:
    """The kernel, or mask, of an ungrouped convolution: weights between groups are missing.

    The op skips them, so that only memory for them is spent.
    """
    height, width, inputs, outputs = ops.shape(tensor)
    parts = ops.reshape(tensor, (height, width, 1, inputs, groups, outputs // groups))
    is_own = ops.reshape(ops.eye(groups, dtype="bool"), (1, 1, groups, 1, groups, 1))
    all_pairs = ops.where(is_own, parts, ops.zeros((), tensor.dtype))
    return ops.reshape(all_pairs, (height, width, groups * inputs, outputs))


def _window_attributes(product: Product) -> dict[str, Any]:
    return {
        "strides": product.strides,
        "padding": product.padding.upper(),
        "dilations": product.dilation,
    }


def _common_attributes(product: Product) -> dict[str, Any]:
    structure = dataclasses.asdict(kernel_structure(product.structure))
    return {**structure, "growth_batch": product.growth_batch}


def _in_dtype(dtype: str, tensor: Any) -> Any:
    """The tensor in the dtype of the product, to which keras.ops.matmul promotes it, too."""
    return tensor if standardize_dtype(tensor.dtype) == dtype else ops.cast(tensor, dtype)


def _in_rows(inputs: Any, kernel: Any, product: Any) -> Any:
    """The product of inputs (..., in) of any rank, as that of (rows, in)."""
    import tensorflow as tf

    sizes, channels = tf.shape(inputs)[:-1], tf.shape(inputs)[-1]
    outputs = product(tf.reshape(inputs, tf.stack([tf.reduce_prod(sizes), channels])))
    return tf.reshape(outputs, tf.concat([sizes, tf.shape(kernel)[1:]], 0))
