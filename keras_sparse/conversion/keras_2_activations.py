"""Activations that compute something else in Keras 3 than in Keras 2 (``tf_keras``)."""

from typing import Any

import keras


def hard_sigmoid_of_keras_2(x: Any) -> Any:
    """clip(0.2 x + 0.5, 0, 1). That of Keras 3 is clip(x / 6 + 0.5, 0, 1).

    >>> [float(hard_sigmoid_of_keras_2(np.float32(x))) for x in (-3, 0, 1)]
    [0.0, 0.5, 0.699999988079071]
    """
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


keras.saving.register_keras_serializable("keras_sparse")(hard_sigmoid_of_keras_2)


def activation_of_keras_3(name: Any) -> Any:
    """What an argument of a layer of Keras 3 says for the same function."""
    if name == "hard_sigmoid":
        return keras.saving.serialize_keras_object(hard_sigmoid_of_keras_2)
    return name
