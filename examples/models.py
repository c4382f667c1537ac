"""What are the two LeNets, as the sparse momentum paper trains them?"""

import itertools
import math

import keras
from keras import layers

MODELS = ("lenet-300-100", "lenet-5")
INPUT_SHAPE = (28, 28, 1)


def build(name: str, fan_in_uniform: bool = False, l2: float = 0.0) -> keras.Sequential:
    """A LeNet for 28x28x1 images in 10 classes; its last layer gives logits.

    Args:
        name: ``"lenet-300-100"``: 784-300-100-10, or ``"lenet-5"``: LeNet-5-Caffe.
        fan_in_uniform: initialise weights and biases uniformly in ±1/sqrt(fan in), as the paper does; otherwise as Keras does.
        l2: the penalty ``l2 * sum(w^2)`` on all parameters, biases included. Its gradient is ``2 * l2 * w``: half of what a
            framework calls weight decay when it adds ``decay * w`` to the gradient.
    """
    if name == "lenet-300-100":
        return _sequential(name, [layers.Flatten(), *_dense(784, 300, 100, 10, fan_in_uniform=fan_in_uniform, l2=l2)])
    if name == "lenet-5":
        return _sequential(name, _lenet_5(fan_in_uniform, l2))
    raise ValueError(f"`name` must be one of {MODELS}. Received: name={name!r}")


def _lenet_5(fan_in_uniform: bool, l2: float) -> list[keras.layers.Layer]:
    return [
        layers.Conv2D(20, 5, activation="relu", name="conv_1", **_parameters(25, fan_in_uniform, l2)),
        layers.MaxPooling2D(),
        layers.Conv2D(50, 5, activation="relu", name="conv_2", **_parameters(500, fan_in_uniform, l2)),
        layers.MaxPooling2D(),
        layers.Flatten(),
        *_dense(800, 500, 10, fan_in_uniform=fan_in_uniform, l2=l2),
    ]


def _dense(*widths: int, fan_in_uniform: bool, l2: float) -> list[keras.layers.Layer]:
    """Dense layers from the first of these widths to the last, with ReLU between them."""
    last = len(widths) - 2
    return [
        layers.Dense(units, activation=None if i == last else "relu", name=f"dense_{i + 1}", **_parameters(fan_in, fan_in_uniform, l2))
        for i, (fan_in, units) in enumerate(itertools.pairwise(widths))
    ]


def _parameters(fan_in: int, fan_in_uniform: bool, l2: float) -> dict[str, object]:
    """Initialisers and regularisers of a layer's kernel and bias."""
    arguments: dict[str, object] = {}
    for parameter in ("kernel", "bias"):
        if l2:
            arguments[f"{parameter}_regularizer"] = keras.regularizers.L2(l2)
        if fan_in_uniform:
            limit = 1 / math.sqrt(fan_in)
            arguments[f"{parameter}_initializer"] = keras.initializers.RandomUniform(-limit, limit)
    return arguments


def _sequential(name: str, body: list[keras.layers.Layer]) -> keras.Sequential:
    return keras.Sequential([keras.Input(INPUT_SHAPE), *body], name=name.replace("-", "_"))
