"""The networks of the benchmark of the initial scale, each with its training."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from benchmarks import networks
from benchmarks.accuracy_networks import WEIGHT_DECAY
from examples.models import build

EVERYWHERE = "everywhere"  # also before normalization, where "auto" does not scale


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, and its training by SGD with a momentum of 0.9 and a cosine from the rate to 0."""

    title: str
    build: Callable[[], keras.Model]
    data: str
    examples: int
    epochs: int
    batch: int
    learning_rate: float
    dense: tuple[str, ...] = ()  # layers without masks
    sparsify: bool = False  # where the custom ops are faster
    scale: str = "auto"  # what is compared with None


def plain_cnn() -> keras.Model:
    """Three convolutions and a dense layer, without normalisation, initialised as Keras does."""
    kinds = ((16, 2), (32, 2), (64, 1))
    convolutions = [
        keras.layers.Conv2D(channels, 3, stride, activation="relu") for channels, stride in kinds
    ]
    head = [keras.layers.Flatten(), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((28, 28, 1)), *convolutions, *head])


def vgg() -> keras.Model:
    """Six convolutions and a dense layer, without normalisation, initialised by ``he_normal``."""
    layers: list[Any] = [keras.Input((28, 28, 1))]
    for channels in (16, 32, 64):
        options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
        layers += [keras.layers.Conv2D(channels, 3, **options) for _ in range(2)]
        layers.append(keras.layers.MaxPooling2D())
    hidden = keras.layers.Dense(128, "relu", kernel_initializer="he_normal")
    return keras.Sequential([*layers, keras.layers.Flatten(), hidden, keras.layers.Dense(10)])


def lenet() -> keras.Model:
    """LeNet-300-100 with the paper's initial weights and penalty."""
    return build("lenet-300-100", fan_in_uniform=True, l2=WEIGHT_DECAY / 2)


NETWORKS = {
    "cnn": Network("Plain CNN, MNIST", plain_cnn, "mnist", 6_000, 6, 32, 0.05),
    "vgg": Network("VGG without batch normalization, MNIST", vgg, "mnist", 4_096, 5, 64, 0.02),
    "lenet": Network("LeNet-300-100, MNIST", lenet, "mnist", 12_000, 8, 100, 0.1),
    "cifar": Network(
        "Seven convolutions with batch normalization, CIFAR-10",
        *(networks.conv8, "cifar", 3_840, 4, 128, 0.1),
        dense=("first", "classifier"),
        sparsify=True,
        scale=EVERYWHERE,
    ),
}
