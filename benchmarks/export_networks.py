"""The networks of ``export_sizes.py``, for Keras 3 and for the Keras 2 of tfmot (``tf_keras``)."""

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarks.transformer import encoder


@dataclasses.dataclass(frozen=True)
class Network:
    """A network.

    Attributes:
        build: makes it of the layers of a Keras: ``keras`` or ``tf_keras``.
        density: of its masked weights.
    """

    build: Callable[[Any], Any]
    density: float = 0.1


def lenet(keras: Any) -> Any:
    """LeNet-300-100."""
    layers = keras.layers
    body = [layers.Dense(300), layers.Dense(100), layers.Dense(10)]
    return keras.Sequential([keras.Input((784,)), *body])


def mobilenet(keras: Any) -> Any:
    """MobileNetV2 for small images."""
    return keras.applications.MobileNetV2((96, 96, 3), weights=None, classes=100)


def lstm(keras: Any) -> Any:
    """Two layers of 256 units, 20 steps."""
    layers = keras.layers
    body = [layers.LSTM(256, return_sequences=True), layers.LSTM(256), layers.Dense(10)]
    return keras.Sequential([keras.Input((20, 64)), *body])


def wide_resnet(keras: Any) -> Any:
    """WRN-10-4 for CIFAR-10."""
    layers = keras.layers

    def conv(x: Any, width: int, size: int, stride: int = 1) -> Any:
        return layers.Conv2D(width, size, stride, padding="same", use_bias=False)(x)

    inputs = keras.Input((32, 32, 3))
    x = conv(inputs, 16, 3)
    for width, stride in ((64, 1), (128, 2), (256, 2)):
        y = layers.ReLU()(layers.BatchNormalization()(x))
        short = conv(y, width, 1, stride)
        y = layers.ReLU()(layers.BatchNormalization()(conv(y, width, 3, stride)))
        x = layers.Add()([conv(y, width, 3), short])
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return keras.Model(inputs, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def vit(keras: Any) -> Any:
    """A vision transformer of two blocks: 64 patches, 128 wide, 4 heads."""
    layers = keras.layers
    inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((64, 128))(layers.Conv2D(128, 4, 4)(inputs))
    x = encoder(layers, x, width=128, heads=4, blocks=2)
    return keras.Model(inputs, layers.Dense(10)(x))


NETWORKS = {
    "LeNet-300-100": Network(lenet),
    "WRN-10-4": Network(wide_resnet),
    "MobileNetV2": Network(mobilenet),
    "ViT": Network(vit, 0.05),
    "LSTM": Network(lstm),
}
