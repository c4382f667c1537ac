"""The models of the benchmark of small batches."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from benchmarks.networks import resnet_20


def network(name: str) -> Any:
    """The dense model of this name."""
    if name.startswith("MLP"):
        return mlp(784, 300, 100, 10) if name == "MLP 300" else mlp(2048, 2048, 2048, 10)
    if name == "CNN":
        return plain((28, 28, 1), (32, 64, None, 64, 128, None))
    if name == "VGG":
        return plain((32, 32, 3), (64, 64, None, 128, 128, None, 256, 256, None), normalize=True)
    return resnet_20() if name == "ResNet-20" else mobilenet(name)


def mlp(inputs: int, *units: int) -> Any:
    """Dense layers with ReLU between them."""
    hidden = [layers.Dense(n, activation="relu") for n in units[:-1]]
    return keras.Sequential([keras.Input((inputs,)), *hidden, layers.Dense(units[-1])])


def plain(shape: tuple[int, ...], widths: Sequence[int | None], normalize: bool = False) -> Any:
    """3x3 convolutions of these widths; None halves height and width."""
    body: list[Any] = []
    for width in widths:
        if width is None:
            body.append(layers.MaxPooling2D())
        elif normalize:
            body.append(layers.Conv2D(width, 3, padding="same", use_bias=False))
            body += [layers.BatchNormalization(), layers.ReLU()]
        else:
            body.append(layers.Conv2D(width, 3, padding="same", activation="relu"))
    head = [layers.GlobalAveragePooling2D(), layers.Dense(10)]
    return keras.Sequential([keras.Input(shape), *body, *head])


def mobilenet(name: str) -> Any:
    """MobileNetV2 without its weights, with a head for ten classes."""
    settings = {"include_top": False, "weights": None, "pooling": "avg"}
    backbone = keras.applications.MobileNetV2((96, 96, 3), **settings)
    for layer in backbone.layers:
        layer.trainable = "frozen" not in name
    return keras.Model(backbone.input, layers.Dense(10)(backbone.output))
