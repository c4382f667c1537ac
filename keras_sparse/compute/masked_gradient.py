"""Kernels for the stock operation: in a layer as they are, with a masked gradient; else masked.

A layer's missing weights are 0 in its kernel, so the product needs no mask. The mask is read only
where a gradient is computed.
"""

from typing import Any

import keras
from keras import ops

from keras_sparse._keras import in_control_flow
from keras_sparse.compute.gpu_kernels import has_gpu


def with_masked_gradient(kernel: Any, mask: Any, is_dense: Any) -> Any:
    """The same values. Their gradient is 0 where the mask is False, unless ``is_dense`` is True.

    Args:
        kernel: float tensor.
        mask: bool variable or tensor of its shape.
        is_dense: False, or a bool scalar variable or tensor, read when the gradient is computed.
    """
    if keras.backend.backend() == "tensorflow":
        return _on_tensorflow(kernel, mask, is_dense)
    # no function of the gradient: JAX would call it after the loop that its mask was read in
    passes = ops.logical_or(mask, is_dense)
    return ops.where(passes, kernel, ops.stop_gradient(kernel))


def _on_tensorflow(kernel: Any, mask: Any, is_dense: Any) -> Any:
    """The gradient reads mask and switch, so a prediction has only the Keras layer's operations.

    Within a branch of ``cond`` the branch reads them: the gradient of a branch may not read
    variables.
    """

    def read() -> tuple[Any, Any]:
        wanted = is_dense if is_dense is False else ops.copy(is_dense)
        return ops.copy(mask), wanted

    early = read() if in_control_flow() else None

    def gradient(dense: Any) -> Any:
        active, wanted = early or read()

        def where(passes: Any) -> Any:
            return ops.where(passes, dense, ops.zeros_like(dense))

        if wanted is False:
            return where(active)
        if has_gpu():  # a condition there waits for the host
            return where(ops.logical_or(active, wanted))
        return ops.cond(wanted, lambda: dense, lambda: where(active))

    return ops.custom_gradient(lambda same: (ops.copy(same), gradient))(kernel)


def masked_kernel(kernel: Any, mask: Any, dense_weight_gradient: Any) -> Any:
    """kernel * mask, for kernels that may hold what the mask leaves out.

    Args:
        kernel: float tensor.
        mask: bool tensor of its shape.
        dense_weight_gradient: bool, bool tensor or variable: is the gradient by the kernel dense?
    """
    mask = ops.cast(mask, kernel.dtype)
    if dense_weight_gradient is False:
        return kernel * mask
    wanted = ops.cast(ops.convert_to_tensor(dense_weight_gradient, "bool"), kernel.dtype)
    passes = kernel * ops.maximum(mask, wanted)
    return passes + ops.stop_gradient(kernel * mask - passes)
