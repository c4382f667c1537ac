"""A real tf.distribute.TPUStrategy on a host without TPUs: its resolver reports TPU cores."""

from typing import Any

import keras
import tensorflow as tf

from keras_sparse.tpu_check._tensorflow import LocalResolver


def strategy(replicas: int) -> Any:
    """A tf.distribute.TPUStrategy for cores that this host does not have.

    Under it, models are created and functions traced as on TPUs. Variables are on the CPU, and no
    step can run.

    Args:
        replicas: number of cores, each with a copy of the model.

    Raises:
        ValueError: ``replicas`` is less than 1, or Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Keras' backend must be TensorFlow for tf.distribute: set KERAS_BACKEND=tensorflow. "
            f"Received: backend={keras.backend.backend()!r}"
        )
    if replicas < 1:
        raise ValueError(f"`replicas` must be at least 1. Received: replicas={replicas}")
    tf.config.set_soft_device_placement(True)  # ops placed on a TPU get the CPU
    return tf.distribute.TPUStrategy(LocalResolver(replicas))
