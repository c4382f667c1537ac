"""The networks of the accuracy benchmark, each with its data and its recipe."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import report  # noqa: F401  puts the repository on the path

from examples.cifar10 import Batches
from examples.data import load_cifar10
from examples.models import build, vgg16_d, wide_resnet

WEIGHT_DECAY = 5e-4  # what is added to the gradient, times the weight
BATCH = 100  # of MNIST
TRAINING_EXAMPLES = 54_000  # of MNIST's 60,000: the last 10 % are for validation
# The learning rate falls tenfold every 25,000 of the paper's 54,000 steps; shorter trainings keep the proportion.
DECAY_EVERY = 25_000 / 54_000
CIFAR_DECAY_EVERY = 30_000 / (250 * (45_000 // 128))  # likewise
MEAN, DEVIATION = 0.1307, 0.3081
Part = tuple[np.ndarray, np.ndarray]  # images and labels
Rate = keras.optimizers.schedules.LearningRateSchedule


@dataclasses.dataclass(frozen=True)
class Network:
    """A network and how it is trained: by SGD with Nesterov momentum 0.9.

    Attributes:
        data: "mnist" or "cifar".
        build: makes the model, without masks, its penalty included.
        rate: from the first learning rate and the number of steps to a schedule.
        batch: images in a step.
        images: training images unless a run says otherwise.
        epochs: likewise.
        augmented: True: images are moved and mirrored.
    """

    data: str
    build: Callable[[], keras.Model]
    rate: Callable[[float, int], Rate]
    batch: int
    images: int
    epochs: int
    augmented: bool = False


def network(name: str) -> Network:
    """A network by name: one of NAMES, or wrn-d-k for any depth d = 6 n + 4 and width k."""
    if name in NETWORKS:
        return NETWORKS[name]
    found = re.fullmatch(r"wrn-(\d+)-(\d+)", name)
    if not found:
        raise ValueError(f"`network` must be one of {(*NETWORKS, 'wrn-<depth>-<width>')}. Received: network={name!r}")
    depth, width = int(found[1]), int(found[2])
    return Network("cifar", lambda: with_penalty(wide_resnet(depth, width, 0.3)), _cifar_rate, 128, 45_000, 250, True)


def _steps_down(first: float, steps: int, factor: float, shares: tuple[float, ...]) -> Rate:
    """Falls by the factor after each of these shares of the training."""
    rates = [first * factor**i for i in range(len(shares) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay([round(share * steps) for share in shares], rates)


def _mnist_rate(first: float, steps: int) -> Rate:
    return _steps_down(first, steps, 0.1, (DECAY_EVERY, 2 * DECAY_EVERY))


def _cifar_rate(first: float, steps: int) -> Rate:
    return _steps_down(first, steps, 0.1, (CIFAR_DECAY_EVERY, 2 * CIFAR_DECAY_EVERY))


def _wrn_28_2_rate(first: float, steps: int) -> Rate:
    return _steps_down(first, steps, 0.2, (60 / 200, 120 / 200, 160 / 200))


def conv8() -> keras.Model:
    """Seven convolutions with batch normalization and a dense layer for CIFAR-10: 1.97 M weights."""
    from block_accuracy import cifar_model

    return cifar_model()


def with_penalty(model: keras.Model) -> keras.Model:
    """A copy with new weights and the paper's L2 penalty on all parameters."""

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        for name in ("kernel", "bias", "gamma", "beta"):
            if f"{name}_regularizer" in config:
                config[f"{name}_regularizer"] = keras.regularizers.L2(WEIGHT_DECAY / 2)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=copied)


def _lenet(name: str) -> Network:
    def made() -> keras.Model:
        return build(name, fan_in_uniform=True, l2=WEIGHT_DECAY / 2)

    return Network("mnist", made, _mnist_rate, BATCH, TRAINING_EXAMPLES, 100)


NETWORKS = {
    "lenet-300-100": _lenet("lenet-300-100"),
    "lenet-5": _lenet("lenet-5"),
    "conv8": Network("cifar", conv8, keras.optimizers.schedules.CosineDecay, 128, 20_000, 20, True),
    "vgg16-d": Network("cifar", lambda: with_penalty(vgg16_d()), _cifar_rate, 128, 45_000, 250, True),
    "wrn-28-2": Network("cifar", lambda: with_penalty(wide_resnet(28, 2, 0.3)), _wrn_28_2_rate, 100, 50_000, 200, True),
}
NAMES = tuple(NETWORKS)


# --- data


def parts(data: str, file: Path, images: int) -> tuple[Part, Part | None, Part]:
    """Images and labels to train, to validate and to test with.

    The last 10 % of the training images are for validation; None where the training takes some of them.
    """
    x, y, x_test, y_test = _mnist(file) if data == "mnist" else _cifar(file)
    reserved = len(y) * 9 // 10
    validation = (x[reserved:], y[reserved:]) if images <= reserved else None
    return (x[:images], y[:images]), validation, (x_test, y_test)


def _mnist(file: Path) -> tuple[np.ndarray, ...]:
    with np.load(file) as arrays:
        x, x_test = (((arrays[f"x_{part}"] / np.float32(255) - MEAN) / DEVIATION).astype("float32")[..., None] for part in ("train", "test"))
        y, y_test = (arrays[f"y_{part}"].astype("int32") for part in ("train", "test"))
    return x, y, x_test, y_test


def _cifar(file: Path) -> tuple[np.ndarray, ...]:
    found = load_cifar10(file)
    return found.x_train, found.y_train, found.x_test, found.y_test


def batches(of: Network, training: Part, seed: int) -> Any:
    """Shuffled training batches."""
    if of.augmented:
        return Batches(*training, of.batch, seed)
    import tensorflow as tf

    # Picked out of memory by shuffled numbers: shuffling images one by one is slower than training.
    images, labels = (tf.constant(each) for each in training)
    numbers = tf.data.Dataset.range(len(labels)).shuffle(len(labels)).batch(of.batch, drop_remainder=True)
    return numbers.map(lambda chosen: (tf.gather(images, chosen), tf.gather(labels, chosen))).prefetch(8)
