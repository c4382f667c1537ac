"""Builds and compiles a network by its recipe. For example:

>>> how = recipe("vgg16-d")
>>> data = feeds.feed(how, feeds.load_images("vgg16-d"), seed=0)  # doctest: +SKIP
>>> model = compiled("vgg16-d", "RigL", 0.05, 20 * data.steps, seed=0)  # doctest: +SKIP
>>> callbacks = [*data.callbacks, ks.UpdateMasks()]  # doctest: +SKIP
>>> model.fit(data.batches, epochs=20, shuffle=False, callbacks=callbacks)  # doctest: +SKIP
"""

from pathlib import Path
from typing import Any

import keras

import keras_sparse as ks
from examples.models import build
from examples.recipes import METHODS, Recipe, recipe


def learning_rate(recipe: Recipe, steps: int, highest: float | None = None) -> Any:
    """The recipe's schedule, in a training of this number of steps.

    Args:
        recipe: of the network.
        steps: optimizer steps of the whole training.
        highest: the learning rate before it falls; None: the recipe's.
    """
    highest = recipe.learning_rate if highest is None else highest
    falls, warm_up = recipe.falls_in(steps), recipe.warm_up_in(steps)
    if warm_up:
        return WarmUpAndSteps(highest, warm_up, falls, recipe.factor)
    values = [highest * recipe.factor**k for k in range(len(falls) + 1)]
    # Keras keeps a value up to and including its boundary.
    return keras.optimizers.schedules.PiecewiseConstantDecay([fall - 1 for fall in falls], values)


def sgd(recipe: Recipe, steps: int, highest: float | None = None) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, for a training of this number of steps."""
    rate = learning_rate(recipe, steps, highest)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=recipe.nesterov)


def network(name: str, start: Path | None = None) -> keras.Model:
    """The recipe's network, untrained, or with the weights of a trained one in a .keras file.

    Batch normalization is fused, as in sparse layers' models, so that only the kernels differ.
    """
    how = recipe(name)
    settings = {"l2": how.l2 / 2, "dropout": how.dropout, "fused_normalization": True}
    model = build(name, fan_in_uniform=True, **settings)
    if start is not None:
        trained = ks.densify(keras.saving.load_model(start, compile=False)).get_weights()
        shapes, wanted = ([w.shape for w in some] for some in (trained, model.get_weights()))
        if shapes != wanted:
            raise ValueError(f"`start` must be a file of {name}. Received: start={start}")
        model.set_weights(trained)
    return model


def sparse_optimizer(
    method: str, inner: Any, density: float, recipe: Recipe, **settings: Any
) -> ks.SparseMomentum:
    """The optimizer of a method of ``METHODS``, with that method's own defaults.

    Args:
        method: a name of ``METHODS``.
        inner: the optimizer to wrap.
        density: active / all masked weights, in (0, 1].
        recipe: of the network; sparse momentum takes its prune rate from there.
        **settings: further arguments of ``SparseMomentum``.
    """
    if method not in METHODS:
        raise ValueError(f"`method` must be one of {(*METHODS,)}. Received: method={method!r}")
    if method == "SparseMomentum":
        settings = {"prune_rate": ks.CosineOverTraining(*recipe.prune_rate), **settings}
    preset, own = METHODS[method]
    return getattr(ks, preset)(inner, density, **{**settings, **own})


def compiled(
    name: str,
    method: str,
    density: float,
    steps: int,
    seed: int,
    *,
    highest: float | None = None,
    sparse_kernels: bool = False,
    start: Path | None = None,
    **settings: Any,
) -> keras.Model:
    """The network, ready to train by its recipe.

    Args:
        name: of the network.
        method: ``"dense"``, or a name of ``METHODS``.
        density: active / all masked weights; unused if dense.
        steps: optimizer steps of the whole training.
        seed: of weights and masks.
        highest: the learning rate before it falls; None: the recipe's.
        sparse_kernels: with layers that skip missing weights, unless dense.
        start: .keras file of a trained network to start from, whose largest weights stay active.
        **settings: further arguments of ``SparseMomentum``. Without an ``initial_scale`` weights
            keep their values, as published.
    """
    keras.utils.set_random_seed(seed)
    how, model = recipe(name), network(name, start)
    optimizer = sgd(how, steps, highest)
    if method != "dense":
        model = ks.sparsify(model) if sparse_kernels else model
        settings = {"initial_scale": None, "seed": seed, **settings}
        if start is not None:
            settings.setdefault("initial_masks", "magnitude")
        optimizer = sparse_optimizer(method, optimizer, density, how, **settings)
    model.compile(optimizer, loss(how), weighted_metrics=["accuracy"])
    return model


def loss(recipe: Recipe) -> keras.losses.Loss:
    """Cross-entropy of logits and labels; of one-hot labels if they are smoothed."""
    if recipe.label_smoothing:
        smoothing = recipe.label_smoothing
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable("examples")
class WarmUpAndSteps(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly over ``warm_up`` steps, and falls in steps.

    Args:
        peak: the learning rate between.
        warm_up: optimizer steps.
        falls: optimizer steps.
        factor: by which a fall multiplies it.
    """

    def __init__(
        self, peak: float, warm_up: int, falls: tuple[int, ...], factor: float = 0.1
    ) -> None:
        self.peak, self.warm_up, self.falls, self.factor = peak, warm_up, tuple(falls), factor

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, "float32")
        fallen = sum(keras.ops.cast(step >= fall, "float32") for fall in self.falls)
        risen = keras.ops.minimum((step + 1) / max(1, self.warm_up), 1.0)
        return self.peak * risen * self.factor**fallen

    def get_config(self) -> dict[str, Any]:
        names = ("peak", "warm_up", "falls", "factor")
        return {name: getattr(self, name) for name in names}
