"""The networks of the accuracy benchmark, each with its recipe."""

import dataclasses
import re
from collections.abc import Callable

import keras
import report  # noqa: F401  puts the repository on the path

from examples.models import build, vgg16_d, wide_resnet

WEIGHT_DECAY = 5e-4  # what is added to the gradient, times the weight
BATCH = 100  # of MNIST
TRAINING_EXAMPLES = 54_000  # of MNIST's 60,000: the last 10 % are for validation
# The paper's learning rate falls tenfold every 25,000 of MNIST's 54,000 steps, and every 30,000 of
# CIFAR's; shorter trainings keep the proportion.
DECAY_EVERY = 25_000 / 54_000
CIFAR_DECAY_EVERY = 30_000 / (250 * (45_000 // 128))
DROPOUT = 0.3  # of wide ResNets
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
    augmented: bool


def network(name: str) -> Network:
    """A network by name: one of NAMES, or wrn-d-k for any depth d = 6 n + 4 and width k."""
    if name in NETWORKS:
        return NETWORKS[name]
    found = re.fullmatch(r"wrn-(\d+)-(\d+)", name)
    if not found:
        names = ", ".join((*NETWORKS, "wrn-<depth>-<width>"))
        raise ValueError(f"`network` must be one of {names}. Received: network={name!r}")
    depth, width = int(found[1]), int(found[2])
    return _cifar(lambda: with_penalty(wide_resnet(depth, width, DROPOUT)))


def with_penalty(model: keras.Model) -> keras.Model:
    """A copy with new weights and the paper's L2 penalty on all parameters."""

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        for name in ("kernel", "bias", "gamma", "beta"):
            if f"{name}_regularizer" in config:
                config[f"{name}_regularizer"] = keras.regularizers.L2(WEIGHT_DECAY / 2)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=copied)


def conv8() -> keras.Model:
    """Seven convolutions with batch normalization and a dense layer, without a penalty."""
    from block_accuracy import cifar_model

    return cifar_model()


def _steps_down(first: float, steps: int, factor: float, shares: tuple[float, ...]) -> Rate:
    """Multiplied by the factor after each of these shares of the training."""
    rates = [first * factor**i for i in range(len(shares) + 1)]
    boundaries = [round(share * steps) for share in shares]
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def _mnist_rate(first: float, steps: int) -> Rate:
    return _steps_down(first, steps, 0.1, (DECAY_EVERY, 2 * DECAY_EVERY))


def _cifar_rate(first: float, steps: int) -> Rate:
    return _steps_down(first, steps, 0.1, (CIFAR_DECAY_EVERY, 2 * CIFAR_DECAY_EVERY))


def _wrn_28_2_rate(first: float, steps: int) -> Rate:
    return _steps_down(first, steps, 0.2, (0.3, 0.6, 0.8))


def _lenet(name: str) -> Network:
    def made() -> keras.Model:
        return build(name, fan_in_uniform=True, l2=WEIGHT_DECAY / 2)

    return Network("mnist", made, _mnist_rate, BATCH, TRAINING_EXAMPLES, 100, augmented=False)


def _cifar(made: Callable[[], keras.Model]) -> Network:
    return Network("cifar", made, _cifar_rate, 128, 45_000, 250, augmented=True)


NETWORKS = {
    "lenet-300-100": _lenet("lenet-300-100"),
    "lenet-5": _lenet("lenet-5"),
    "conv8": dataclasses.replace(
        _cifar(conv8),
        rate=keras.optimizers.schedules.CosineDecay,
        images=20_000,
        epochs=20,
    ),
    "vgg16-d": _cifar(lambda: with_penalty(vgg16_d())),
    "wrn-28-2": dataclasses.replace(
        _cifar(lambda: with_penalty(wide_resnet(28, 2, DROPOUT))),
        rate=_wrn_28_2_rate,
        batch=100,
        images=50_000,
        epochs=200,
    ),
}
NAMES = tuple(NETWORKS)
