"""How does a model come to believe that it trains on TPUs?  Under a real tf.distribute.TPUStrategy that asks us for its devices."""

from typing import Any

import keras
import tensorflow as tf

from keras_sparse.tpu_check._tensorflow import LocalResolver


def strategy(replicas: int) -> Any:
    """A tf.distribute.TPUStrategy for this many cores of one host that has none.

    Models are made and functions traced under it as they are on TPUs; variables are on the CPU. Nothing can be run.

    Args:
        replicas: cores, each with a copy of the model.

    Raises:
        ValueError: less than one; Keras runs on another backend.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"tf.distribute is for Keras on TensorFlow: set KERAS_BACKEND=tensorflow. Received: backend={keras.backend.backend()!r}"
        )
    if replicas < 1:
        raise ValueError(f"`replicas` must be at least 1. Received: replicas={replicas}")
    tf.config.set_soft_device_placement(True)  # what asks for a TPU gets the CPU
    return tf.distribute.TPUStrategy(LocalResolver(replicas))
