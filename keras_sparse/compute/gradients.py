"""Gradients of the compiled ops are products of the same kind: they have gradients of any order."""

import functools
from collections.abc import Callable
from typing import Any

from keras_sparse.compute.library import library

Function = Callable[..., Any]


@functools.cache
def custom_ops() -> Any:
    """The compiled ops as Python functions, with their gradients registered."""
    functions = library()
    _register(
        "Conv2D",
        functions.keras_sparse_conv2d,
        functions.keras_sparse_conv2d_input_gradient,
        functions.keras_sparse_conv2d_kernel_gradient,
        _dense_conv2d_kernel_gradient,
    )
    _register(
        "MatMul",
        functions.keras_sparse_mat_mul,
        functions.keras_sparse_mat_mul_input_gradient,
        functions.keras_sparse_mat_mul_kernel_gradient,
        _dense_matmul_kernel_gradient,
    )
    return functions


def _register(
    product: str,
    forward: Function,
    input_gradient: Function,
    kernel_gradient: Function,
    dense_kernel_gradient: Function,
) -> None:
    """Registers the gradients of a product and of its two gradient ops: each is linear in each of its float inputs."""
    import tensorflow as tf

    def by_kernel(
        inputs: Any, mask: Any, output_gradient: Any, wanted: Any, attributes: dict[str, Any]
    ) -> Any:
        """Dense if it is wanted dense: decided while the graph runs, unless it is a constant."""
        dense = functools.partial(
            dense_kernel_gradient, inputs, mask, output_gradient, **attributes
        )
        sparse = functools.partial(kernel_gradient, inputs, mask, output_gradient, **attributes)
        constant = tf.get_static_value(wanted)
        if constant is not None:
            return dense() if constant else sparse()
        return tf.cond(wanted, dense, sparse)

    def of_forward(op: Any, gradient: Any) -> list[Any]:
        inputs, kernel, mask, wanted = op.inputs
        attributes = _attributes(op)
        return [
            input_gradient(inputs, kernel, mask, gradient, wanted, **attributes)
            if _asked_for(op, 0)
            else None,
            by_kernel(inputs, mask, gradient, wanted, attributes) if _asked_for(op, 1) else None,
            None,
            None,
        ]

    def of_input_gradient(op: Any, gradient: Any) -> list[Any]:
        _, kernel, mask, output_gradient, wanted = (
            op.inputs
        )  # of the inputs it takes the shape alone
        attributes = _attributes(op)
        return [
            None,
            by_kernel(gradient, mask, output_gradient, wanted, attributes)
            if _asked_for(op, 1)
            else None,
            None,
            forward(gradient, kernel, mask, wanted, **attributes) if _asked_for(op, 3) else None,
            None,
        ]

    def of_kernel_gradient(op: Any, gradient: Any) -> list[Any]:
        inputs, mask, output_gradient = op.inputs
        attributes = _attributes(op)
        return [
            input_gradient(inputs, gradient, mask, output_gradient, False, **attributes)
            if _asked_for(op, 0)
            else None,
            None,
            forward(inputs, gradient, mask, False, **attributes) if _asked_for(op, 2) else None,
        ]

    for name, gradients in (
        ("", of_forward),
        ("InputGradient", of_input_gradient),
        ("KernelGradient", of_kernel_gradient),
    ):
        tf.RegisterGradient(f"KerasSparse>{product}{name}")(gradients)


def _attributes(op: Any) -> dict[str, Any]:
    """What a gradient op has in common with the op that it belongs to."""
    names = ("strides", "padding", "layer", "block") if "Conv2D" in op.type else ("layer", "block")
    return {name: op.get_attr(name) for name in names}


def _asked_for(op: Any, index: int) -> bool:
    """Eagerly nobody prunes what is not needed."""
    return index not in (getattr(op, "skip_input_indices", None) or ())


def _dense_conv2d_kernel_gradient(
    inputs: Any, mask: Any, output_gradient: Any, strides: list[int], padding: Any, **_: Any
) -> Any:
    import tensorflow as tf

    sizes = tf.shape(mask)
    strides = [1, *strides, 1]
    return tf.raw_ops.Conv2DBackpropFilter(
        input=inputs,
        filter_sizes=sizes,
        out_backprop=output_gradient,
        strides=strides,
        padding=padding,
    )


def _dense_matmul_kernel_gradient(inputs: Any, mask: Any, output_gradient: Any, **_: Any) -> Any:
    import tensorflow as tf

    return tf.linalg.matmul(inputs, output_gradient, transpose_a=True)
