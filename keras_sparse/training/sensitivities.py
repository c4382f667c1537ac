"""The connection sensitivities |weight * gradient| of SNIP: one batch goes through a copy."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import (
    batch_of_running_fit,
    compiled_losses,
    strategy_scope,
    to_float32,
    train_on_batch,
    variables_of,
)
from keras_sparse.conversion.progress import progress
from keras_sparse.conversion.sparsify import densify
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.momentum import momentum_of

ATTEMPTS = 20  # of a loss scale that is halved while a float16 gradient overflows
DATASETS = ("Dataset", "Sequence", "DataLoader", "Generator", "generator", "Iterator")


def sensitivities(
    model: keras.Model,
    batch: tuple[Any, ...],
    variables: Sequence[Any],
    loss: Any = None,
) -> list[np.ndarray]:
    """|weight * gradient| of these trainable weights of a model.

    Args:
        model: is not changed.
        batch: inputs, targets and sample weights, as ``train_on_batch`` takes them.
        variables: some of the model's trainable weights.
        loss: as for ``compile``; None: the model's own.
    """
    _check_batch(batch[0])
    with progress("SNIP scores"):
        gradients = _gradients(model, batch, loss)
        return [np.abs(to_float32(v) * gradients[id(v)]) for v in variables]


def _check_batch(x: Any) -> None:
    name = type(x).__name__
    if name.endswith(DATASETS):
        rule = "one batch of inputs, and `y` its targets: `x, y = next(iter(dataset))`"
        raise TypeError(f"`x` must be {rule}. Received: x of type {name}")
    shapes = [keras.ops.shape(one) for one in keras.tree.flatten(x)]
    if any(shape and shape[0] == 0 for shape in shapes):
        raise ValueError(f"`x` must have at least one example. Received: x of the shapes {shapes}")


def _gradients(model: keras.Model, batch: tuple[Any, ...], loss: Any) -> Mapping[int, np.ndarray]:
    """{id of a trainable weight: its gradient}: a copy takes a training step that moves nothing."""
    copied = densify(model)
    for variable in copied.trainable_variables:
        variable.regularizer = None
    with strategy_scope(model):
        kept = GradientAverage(0.0)
        _compile(model, copied, kept, loss)
        for _ in range(ATTEMPTS):
            train_on_batch(copied, batch)
            if kept.built and int(to_float32(kept.iterations)) > 0:
                break
        else:
            raise ValueError(NO_STEP.format(kind=type(model).__name__, name=model.name))
    places = {id(v): i for i, v in enumerate(variables_of(kept))}
    pairs = zip(model.trainable_variables, copied.trainable_variables, strict=True)
    return {id(v): momentum_of(kept, places[id(own)]) for v, own in pairs}


def _compile(model: keras.Model, copied: keras.Model, kept: GradientAverage, loss: Any) -> None:
    """Compiles a copy as its model is, with an optimizer that keeps the gradients."""
    losses: dict[str, Any] = {"loss": loss}
    if loss is None:
        if not model.compiled:
            rule = "SNIP needs a loss: compile the model, or pass `loss`"
            raise ValueError(f"{rule}. Received: loss=None, and {model.name!r} is not compiled")
        losses = compiled_losses(model)
    optimizer: Any = kept
    if model.dtype_policy.compute_dtype == "float16":
        optimizer = keras.optimizers.LossScaleOptimizer(kept, name="snip_loss_scale")
    eagerly = bool(model.compiled and model.run_eagerly)
    keras.Model.compile(copied, optimizer, **losses, run_eagerly=eagerly)


NO_STEP = (
    "SNIP needs the gradients of a training step, and none reached the compiled optimizer: the "
    "model's own `train_step` steps others, or all gradients overflowed. Make masks yourself, and "
    "pass them as `initial_masks={{path: mask}}`. Received: {kind} {name!r}"
)


def make_awaited_masks(model: keras.Model, optimizers: Sequence[Any]) -> None:
    """Makes the masks of ``initial_masks="snip"`` by a batch of the ``fit`` that runs."""
    awaiting = [optimizer for optimizer in optimizers if optimizer.awaiting]
    if not awaiting:
        return
    batch = batch_of_running_fit()
    with strategy_scope(model):
        for optimizer in awaiting:
            optimizer.begin_with_batch(lambda weights: sensitivities(model, batch, weights))
