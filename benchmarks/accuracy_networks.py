"""The networks of the accuracy benchmark: the paper's, each with its recipe, and three more."""

import dataclasses
from collections.abc import Callable

import keras

from benchmarks.networks import conv8, vgg11, vit
from examples import training
from examples.recipes import recipe

WEIGHT_DECAY = 5e-4  # what is added to the gradient, times the weight
BATCH = 100  # of MNIST
TRAINING_EXAMPLES = 54_000  # of MNIST's 60,000: the last 10 % are for validation
# MNIST's learning rate falls tenfold every 25,000 of the paper's 54,000 steps; shorter trainings
# keep the proportion.
DECAY_EVERY = 25_000 / 54_000
IMAGES = {"mnist": 60_000, "cifar10": 50_000}  # to train and to validate with
Rate = keras.optimizers.schedules.LearningRateSchedule


@dataclasses.dataclass(frozen=True)
class Network:
    """A network and how it is trained: by SGD with Nesterov momentum 0.9.

    Attributes:
        data: a key of IMAGES.
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
    """A key of OWN, or a network of ``examples/recipes.py`` by its name, e.g. ``"wrn-28-2"``."""
    if name in OWN:
        return OWN[name]
    how = recipe(name)
    if how.data not in IMAGES:
        raise ValueError(f"`name` must be a network for {[*IMAGES]}. Received: name={name!r}")

    def made() -> keras.Model:
        return training.network(name)

    def rate(first: float, steps: int) -> Rate:
        return training.learning_rate(how, steps, first)

    images = IMAGES[how.data] - int(how.validation * IMAGES[how.data])
    rate = _mnist_rate if how.data == "mnist" else rate
    return Network(how.data, made, rate, how.batch, images, how.epochs, how.augment)


def _mnist_rate(first: float, steps: int) -> Rate:
    """As the examples have it, but one step later: records since the first have been made so."""
    falls = [round(DECAY_EVERY * steps), round(2 * DECAY_EVERY * steps)]
    rates = [first, first * 0.1, first * 0.1 * 0.1]
    return keras.optimizers.schedules.PiecewiseConstantDecay(falls, rates)


_COSINE = keras.optimizers.schedules.CosineDecay
OWN = {
    "conv8": Network("cifar10", conv8, _COSINE, 128, images=20_000, epochs=20, augmented=True),
    "vgg11": Network("cifar10", vgg11, _COSINE, 128, images=50_000, epochs=5, augmented=False),
    "vit": Network("mnist", vit, _COSINE, BATCH, TRAINING_EXAMPLES, epochs=10, augmented=False),
}
