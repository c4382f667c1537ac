"""Gradients of the compiled ops are products of the same kind, so they have all orders."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from keras_sparse.compute.cpu_kernels import computes_all_gradients
from keras_sparse.compute.gpu_kernels import has_gpu
from keras_sparse.compute.growth_batch import gradient_of_part
from keras_sparse.compute.library import library
from keras_sparse.compute.product import Product, static_shape

Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class _Ops:
    """The three compiled ops of one kind of product: each is linear in each of its float inputs.

    Attributes:
        forward: the product of inputs and kernel.
        input_gradient: its gradient by the inputs.
        kernel_gradient: its gradient by the active weights of the kernel, 0 for all others.
        dense_kernel_gradient: its gradient by all weights.
    """

    forward: Function
    input_gradient: Function
    kernel_gradient: Function
    dense_kernel_gradient: Function

    def register(self, product: str) -> None:
        """Registers the gradients of the three ops, whose names begin with this one."""
        import tensorflow as tf

        for name, gradients in (
            ("", self._of_forward),
            ("InputGradient", self._of_input_gradient),
            ("KernelGradient", self._of_kernel_gradient),
        ):
            tf.RegisterGradient(f"KerasSparse>{product}{name}")(gradients)

    def _of_forward(self, op: Any, gradient: Any) -> list[Any]:
        inputs, kernel, mask, wanted = op.inputs
        settings, by_inputs, by_kernel = _attributes(op), None, None
        if _asked_for(op, 0):
            by_inputs = self.input_gradient(inputs, kernel, mask, gradient, wanted, **settings)
        if _asked_for(op, 1):
            by_kernel = self._by_kernel(inputs, mask, gradient, wanted, settings)
        return [by_inputs, by_kernel, None, None]

    def _of_input_gradient(self, op: Any, gradient: Any) -> list[Any]:
        _, kernel, mask, output_gradient, wanted = op.inputs  # the op reads the inputs' shape alone
        settings, by_kernel, by_outputs = _attributes(op), None, None
        if _asked_for(op, 1):
            by_kernel = self._by_kernel(gradient, mask, output_gradient, wanted, settings)
        if _asked_for(op, 3):
            by_outputs = self.forward(gradient, kernel, mask, wanted, **settings)
        return [None, by_kernel, None, by_outputs, None]

    def _of_kernel_gradient(self, op: Any, gradient: Any) -> list[Any]:
        inputs, mask, outputs = op.inputs
        settings, by_inputs, by_outputs = _attributes(op), None, None
        if _asked_for(op, 0):
            by_inputs = self.input_gradient(inputs, gradient, mask, outputs, False, **settings)
        if _asked_for(op, 2):
            by_outputs = self.forward(inputs, gradient, mask, False, **settings)
        return [by_inputs, None, by_outputs]

    def _by_kernel(
        self, inputs: Any, mask: Any, output_gradient: Any, wanted: Any, settings: dict[str, Any]
    ) -> Any:
        """Dense where that is wanted: decided while the graph runs, unless it is a constant."""
        import tensorflow as tf

        tensors, share = (inputs, mask, output_gradient), settings["growth_batch"]
        of_active = functools.partial(self.kernel_gradient, **settings)
        of_all = functools.partial(self.dense_kernel_gradient, **settings)
        sparse = functools.partial(of_active, *tensors)
        dense = functools.partial(of_all, *tensors)
        if share < 1:
            dense = functools.partial(gradient_of_part, share, of_active, of_all, *tensors)
        constant = tf.get_static_value(wanted)
        if constant is not None:
            return dense() if constant else sparse()
        if settings["block"] > 0 and has_gpu():
            return _without_condition(tensors, wanted, share, of_active)
        return tf.cond(wanted, dense, sparse)


def _without_condition(
    tensors: tuple[Any, Any, Any], wanted: Any, share: float, of_active: Function
) -> Any:
    """A condition waits for the GPU: the kernel takes the mask, or one of all weights."""
    import tensorflow as tf

    def of_wanted(inputs: Any, mask: Any, output_gradient: Any) -> Any:
        return of_active(inputs, tf.logical_or(mask, wanted), output_gradient)

    if share == 1:
        return of_wanted(*tensors)
    return gradient_of_part(share, of_active, of_wanted, *tensors)


@functools.cache
def custom_ops() -> Any:
    """The compiled ops as Python functions, with their gradients registered."""
    functions = library()
    _Ops(
        functions.keras_sparse_conv2d,
        functions.keras_sparse_conv2d_input_gradient,
        functions.keras_sparse_conv2d_kernel_gradient,
        _conv2d_gradient_of_all,
    ).register("Conv2D")
    _Ops(
        functions.keras_sparse_mat_mul,
        functions.keras_sparse_mat_mul_input_gradient,
        functions.keras_sparse_mat_mul_kernel_gradient,
        _matmul_gradient_of_all,
    ).register("MatMul")
    return functions


def _attributes(op: Any) -> dict[str, Any]:
    """What a gradient op has in common with the op that it belongs to."""
    names = ["layer", "structure", "block", "growth_batch"]
    if "Conv2D" in op.type:
        names += ["strides", "padding", "dilations"]
    return {name: op.get_attr(name) for name in names}


def _asked_for(op: Any, index: int) -> bool:
    """Eagerly nobody prunes what is not needed."""
    return index not in (getattr(op, "skip_input_indices", None) or ())


def _conv2d_gradient_of_all(inputs: Any, mask: Any, output_gradient: Any, **settings: Any) -> Any:
    """The custom op computes it where that is faster: it finds a mask of whole blocks."""
    import tensorflow as tf

    shape, dilation = static_shape(mask) or (None,) * 4, tuple(settings["dilations"])
    product = Product("conv2d", shape, inputs.dtype.name, dilation=dilation)
    if has_gpu() or not computes_all_gradients(product):
        windows = settings["strides"], settings["padding"], settings["dilations"]
        return _stock_conv2d_gradient(inputs, mask, output_gradient, *windows)
    every = tf.ones_like(mask)
    return library().keras_sparse_conv2d_kernel_gradient(inputs, every, output_gradient, **settings)


def _stock_conv2d_gradient(
    inputs: Any,
    mask: Any,
    output_gradient: Any,
    strides: list[int],
    padding: Any,
    dilations: list[int],
) -> Any:
    import tensorflow as tf

    padding = tf.compat.as_str(padding)
    if max(dilations) == 1:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=inputs,
            filter_sizes=tf.shape(mask),
            out_backprop=output_gradient,
            strides=[1, *strides, 1],
            padding=padding,
        )
    with tf.GradientTape() as tape:  # a graph leaves out the product itself
        kernel = tf.zeros(tf.shape(mask), inputs.dtype)
        tape.watch(kernel)
        outputs = tf.nn.convolution(inputs, kernel, strides, padding, dilations=list(dilations))
    return tape.gradient(outputs, kernel, output_gradient)


def _matmul_gradient_of_all(inputs: Any, mask: Any, output_gradient: Any, **_: Any) -> Any:
    import tensorflow as tf

    if inputs.shape.rank != 2:  # all axes but the last are rows
        rows = tf.reduce_prod(tf.shape(inputs)[:-1])
        inputs, output_gradient = (
            tf.reshape(tensor, tf.stack([rows, tf.shape(tensor)[-1]]))
            for tensor in (inputs, output_gradient)
        )
    return tf.linalg.matmul(inputs, output_gradient, transpose_a=True)
