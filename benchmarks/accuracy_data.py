"""The images of the accuracy benchmark: to train, to validate and to test with, and in batches."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy_networks import Network
from examples.batches import Batches
from examples.data import load_cifar10

MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's training images, in [0, 1]
Part = tuple[np.ndarray, np.ndarray]  # images and labels


def parts(data: str, file: Path, images: int) -> tuple[Part, Part | None, Part]:
    """Images and labels to train, to validate and to test with.

    The last 10 % of the training images are for validation; None where the training takes some.
    """
    x, y, x_test, y_test = _mnist(file) if data == "mnist" else _cifar(file)
    reserved = len(y) * 9 // 10
    validation = (x[reserved:], y[reserved:]) if images <= reserved else None
    return (x[:images], y[:images]), validation, (x_test, y_test)


def batches(network: Network, training: Part, seed: int) -> Any:
    """Shuffled training batches."""
    if network.augmented:
        return Batches(*training, network.batch, seed).dataset()
    import tensorflow as tf

    # Picked by shuffled numbers: to shuffle images one by one takes longer than the training.
    images, labels = (tf.constant(each) for each in training)
    numbers = tf.data.Dataset.range(len(labels)).shuffle(len(labels))
    numbers = numbers.batch(network.batch, drop_remainder=True)
    return numbers.map(lambda n: (tf.gather(images, n), tf.gather(labels, n))).prefetch(8)


def _mnist(file: Path) -> tuple[np.ndarray, ...]:
    with np.load(file) as arrays:
        x, x_test = (_normalised(arrays[f"x_{part}"]) for part in ("train", "test"))
        y, y_test = (arrays[f"y_{part}"].astype("int32") for part in ("train", "test"))
    return x, y, x_test, y_test


def _normalised(images: np.ndarray) -> np.ndarray:
    return ((images / np.float32(255) - MEAN) / DEVIATION).astype("float32")[..., None]


def _cifar(file: Path) -> tuple[np.ndarray, ...]:
    found = load_cifar10(file)
    return found.x_train, found.y_train, found.x_test, found.y_test
