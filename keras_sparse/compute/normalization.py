"""FusedBatchNormalization: Keras' layer on TensorFlow's fused operation.

Keras' normalization has ten element-wise operations, which take longer than sparse convolutions.
"""

from typing import Any

import keras
from keras import ops

from keras_sparse._keras import NamedInFiles


@keras.saving.register_keras_serializable("keras_sparse", name="FusedBatchNormalization")
class FusedBatchNormalization(
    keras.layers.BatchNormalization, metaclass=NamedInFiles, name_in_files="BatchNormalization"
):
    """keras.layers.BatchNormalization in one operation.

    Arguments, weights, names, weight files and values are those of the Keras layer. Inputs of shape
    (batch, height, width, channels) in float32, normalized over the last axis, run TensorFlow's
    fused operation. All others run as Keras does: masked, renormalized or synchronized ones, other
    backends, dtypes and ranks.

    >>> layer = FusedBatchNormalization()
    >>> images = np.random.default_rng(0).normal(3, 2, (8, 4, 4, 2)).astype("float32")
    >>> outputs = layer(images, training=True)
    >>> round(float(ops.std(outputs)), 2)
    1.0
    """

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if mask is not None or not self._can_fuse(inputs):
            return super().call(inputs, training=training, mask=mask)
        trains = bool(training) and self.trainable
        outputs, mean, variance = _fused(inputs, self._statistics(), self.epsilon, trains)
        if trains:
            count = ops.cast(ops.size(inputs), "float32") / inputs.shape[-1]
            # TensorFlow's variance is the unbiased one, Keras keeps the other.
            biased = variance * ((count - 1) / count)
            for average, value in ((self.moving_mean, mean), (self.moving_variance, biased)):
                average.assign(average * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _can_fuse(self, inputs: Any) -> bool:
        plain = not (self.renorm or self.synchronized) and keras.backend.backend() == "tensorflow"
        last = len(inputs.shape) == 4 and self.axis in (-1, 3) and inputs.shape[-1] is not None
        return (
            plain
            and last
            and keras.backend.standardize_dtype(inputs.dtype) == "float32" == self.compute_dtype
        )

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
