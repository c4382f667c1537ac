"""Batch normalization of a training step by the compiled ops, and its gradients.

The ops compute moments in one pass over memory, outputs in another, and a gradient in two. Where a
graph has an activation behind the normalization, or a sum behind its gradient, the ops take these
in when the graph is prepared: ``custom_ops/tensorflow/fuse_normalization.cc``. The activations are
those of ``custom_ops/contract/activation.h``.
"""

import functools
from typing import Any

from keras_sparse.compute.gpu_kernels import has_gpu
from keras_sparse.compute.library import library, why_no_custom_ops


def can_normalize_by_op() -> bool:
    """Do the compiled ops normalize here?  They do on CPUs."""
    return why_no_custom_ops() is None and not has_gpu()


def normalize_by_op(inputs: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Outputs, mean and biased variance of a batch.

    Args:
        inputs: float32, bfloat16 or float16 tensor, (..., channels).
        scale: float32 tensor, (channels,).
        offset: float32 tensor, (channels,).
        epsilon: is added to the variance.

    Returns:
        Outputs of the inputs' shape and dtype; mean and variance, float32 of shape (channels,),
        which have no gradient.
    """
    ops = _ops()
    mean, variance = ops.keras_sparse_batch_moments(inputs)
    outputs = ops.keras_sparse_batch_norm(inputs, scale, offset, mean, variance, epsilon=epsilon)
    return outputs, mean, variance


@functools.cache
def _ops() -> Any:
    """The compiled ops as Python functions, with their gradients registered."""
    import tensorflow as tf

    tf.no_gradient("KerasSparse>BatchMoments")
    tf.RegisterGradient("KerasSparse>BatchNorm")(_gradient)
    tf.RegisterGradient("KerasSparse>BatchNormGradient")(_gradient_of_gradient)
    return library()


def _gradient(op: Any, output_gradient: Any) -> list[Any]:
    """By inputs, scale and offset. The one by mean and variance is part of that by the inputs."""
    by_inputs, by_scale, by_offset = _ops().keras_sparse_batch_norm_gradient(
        *op.inputs,
        output_gradient,
        addends=[],
        **{name: op.get_attr(name) for name in ("epsilon", "activation", "relu")},
    )
    return [by_inputs, by_scale, by_offset, None, None]


def _gradient_of_gradient(op: Any, *gradients: Any) -> list[Any]:
    """Through the same gradient, computed by TensorFlow's operations: for second derivatives."""
    import tensorflow as tf

    if op.get_attr("relu") or op.get_attr("activation") != b"None":
        raise NotImplementedError(
            "The gradient of a batch normalization's gradient needs the activation as an operation "
            "of its own, behind the normalization. Received: "
            f"activation={op.get_attr('activation')!r}, relu={op.get_attr('relu')}"
        )
    inputs, scale, _, _, _, output_gradient = op.inputs
    sources = [inputs, scale, output_gradient]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        results = _as_operations(inputs, scale, output_gradient, op.get_attr("epsilon"))
    by_inputs, by_scale, by_output_gradient = tape.gradient(
        results, sources, output_gradients=list(gradients)
    )
    return [by_inputs, by_scale, None, None, None, by_output_gradient]


def _as_operations(
    inputs: Any, scale: Any, output_gradient: Any, epsilon: float
) -> tuple[Any, Any, Any]:
    """The gradients by inputs, scale and offset."""
    import tensorflow as tf

    dtype, axes = inputs.dtype, list(range(len(inputs.shape) - 1))
    inputs, output_gradient = (tf.cast(x, tf.float32) for x in (inputs, output_gradient))
    mean, variance = tf.nn.moments(inputs, axes)
    inverse = tf.math.rsqrt(variance + epsilon)
    normal = (inputs - mean) * inverse
    by_scale = tf.reduce_sum(output_gradient * normal, axes)
    by_offset = tf.reduce_sum(output_gradient, axes)
    rows = tf.cast(tf.size(inputs) / tf.size(mean), inputs.dtype)
    by_inputs = scale * inverse * (output_gradient - (by_offset + normal * by_scale) / rows)
    return tf.cast(by_inputs, dtype), by_scale, by_offset
