"""What fit and evaluate read: MNIST, CIFAR-10 or ImageNet by a network's recipe."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from examples import data
from examples.batches import Batches
from examples.recipes import Recipe, recipe


@dataclasses.dataclass(frozen=True)
class Feed:
    """What `fit` and `evaluate` read.

    Args:
        batches: to train with: ``Batches``, or a tf.data.Dataset of one epoch or without end.
        steps: batches of an epoch.
        validation: images and labels, or a tf.data.Dataset; None if the recipe keeps none back.
        test: likewise.
        callbacks: that `fit` needs for these batches.
    """

    batches: Any
    steps: int
    validation: Any
    test: Any
    callbacks: Sequence[keras.callbacks.Callback] = ()


def load_images(name: str, file: Path | None = None) -> data.Images:
    """What this network trains on: MNIST or CIFAR-10, from a file or keras.datasets."""
    loaders = {"mnist": data.load, "cifar10": data.load_cifar10}
    if recipe(name).data not in loaders:
        allowed = "a network for MNIST or CIFAR-10; `imagenet_feed` reads ImageNet"
        raise ValueError(f"`name` must be {allowed}. Received: name={name!r}")
    return loaders[recipe(name).data](file)


def feed(recipe: Recipe, images: data.Images, seed: int) -> Feed:
    """These images by the recipe: the last of the training images validate.

    Without another shuffle by `fit` (``shuffle=False``), a resumed training sees the same batches.
    """
    x, y = images.x_train, images.y_train
    n = len(y) - int(recipe.validation * len(y))
    batches = Batches(x[:n], y[:n], recipe.batch, seed, recipe.augment)
    validation = (x[n:], y[n:]) if n < len(y) else None
    test = images.x_test, images.y_test
    # Other backends read a PyDataset without tf.data.
    is_tensorflow = keras.backend.backend() == "tensorflow"
    data = batches.dataset() if is_tensorflow else batches
    return Feed(data, len(batches), validation, test, [batches.follow()])


def imagenet_feed(recipe: Recipe, folder: str, images: int | None = None) -> Feed:
    """ImageNet from a folder of TFRecords, in an order that no seed decides; needs TensorFlow.

    As the paper does, it validates with the images that it tests with.

    Args:
        recipe: of ResNet-50.
        folder: has files train-* and validation-*; see ``imagenet_data``.
        images: of an epoch; None: all.
    """
    from examples import imagenet_data

    dtype = keras.config.dtype_policy().compute_dtype
    shape = (recipe.batch, 224, 1000, dtype)
    training = imagenet_data.training_batches(folder, *shape)
    validation = imagenet_data.validation_batches(folder, *shape)
    steps = (images or imagenet_data.TRAINING_IMAGES) // recipe.batch
    return Feed(training, steps, validation, validation)
