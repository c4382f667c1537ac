"""FusedBatchNormalization: Keras' layer on compiled ops, or on TensorFlow's fused operation.

Keras' normalization has ten element-wise operations, which can take longer than a sparse
convolution.
"""

from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles
from keras_sparse.compute.cpu_kernels import DTYPES
from keras_sparse.compute.normalization_op import can_normalize_by_op, normalize_by_op


@keras.saving.register_keras_serializable("keras_sparse", name="FusedBatchNormalization")
class FusedBatchNormalization(
    keras.layers.BatchNormalization, metaclass=NamedInFiles, name_in_files="BatchNormalization"
):
    """keras.layers.BatchNormalization in few operations.

    Arguments, weights, names, weight files and values are those of the Keras layer. Inputs in
    float32, or in the bfloat16 or float16 of a mixed policy, are normalized over the last axis by
    compiled ops in training, on CPUs. In a graph, a ReLU or ReLU6 that follows runs in the same
    pass over memory. So do its gradient and the sum of the gradients of a branch. Predictions,
    frozen layers, GPUs and TPUs run TensorFlow's fused operation, for inputs of shape (batch,
    height, width, channels). All others run as Keras does: masked, renormalized or synchronized
    ones, other backends and dtypes.

    >>> layer = FusedBatchNormalization()
    >>> images = np.random.default_rng(0).normal(3, 2, (8, 4, 4, 2)).astype("float32")
    >>> outputs = layer(images, training=True)
    >>> round(float(ops.std(outputs)), 2)
    1.0
    """

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        trains = bool(training) and self.trainable
        if mask is not None or not self._is_plain(inputs):
            return super().call(inputs, training=training, mask=mask)
        if trains and can_normalize_by_op():
            return self._train_by_op(inputs)
        if len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = _fused(inputs, self._statistics(), self.epsilon, trains)
        if trains:
            count = ops.cast(ops.size(inputs), "float32") / inputs.shape[-1]
            # TensorFlow's variance is the unbiased one, Keras keeps the other.
            self._move_averages(mean, variance * ((count - 1) / count))
        return outputs

    def _train_by_op(self, inputs: Any) -> Any:
        scale, offset, *_ = self._statistics()
        outputs, mean, variance = normalize_by_op(inputs, scale, offset, self.epsilon)
        self._move_averages(mean, variance)
        return outputs

    def _move_averages(self, mean: Any, variance: Any) -> None:
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            average.assign(average * self.momentum + value * (1.0 - self.momentum))

    def _is_plain(self, inputs: Any) -> bool:
        """Over the last axis, with statistics in float32, and nothing that changes arithmetic."""
        plain = not (self.renorm or self.synchronized) and keras.backend.backend() == "tensorflow"
        rank = len(inputs.shape)
        last = rank >= 2 and self.axis in (-1, rank - 1) and inputs.shape[-1] is not None
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        known = dtype in DTYPES and self.variable_dtype == "float32"
        return plain and last and known and dtype == self.compute_dtype

    def _statistics(self) -> tuple[Any, Any, Any, Any]:
        scale = self.gamma if self.scale else ops.ones_like(self.moving_mean)
        offset = self.beta if self.center else ops.zeros_like(self.moving_mean)
        return scale, offset, self.moving_mean, self.moving_variance


def _fused(
    inputs: Any, statistics: tuple[Any, Any, Any, Any], epsilon: float, trains: bool
) -> tuple[Any, Any, Any]:
    """Outputs, mean and unbiased variance of the batch."""
    import tensorflow as tf

    scale, offset, mean, variance = map(tf.convert_to_tensor, statistics)
    if trains:
        return tuple(
            tf.compat.v1.nn.fused_batch_norm(
                inputs, scale, offset, epsilon=epsilon, is_training=True
            )
        )
    return tuple(
        tf.compat.v1.nn.fused_batch_norm(
            inputs, scale, offset, mean, variance, epsilon=epsilon, is_training=False
        )
    )
