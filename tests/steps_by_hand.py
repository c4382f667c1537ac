"""Steps of an optimizer without a fit: they trace nothing, and cost a twentieth of it."""

import keras
import numpy as np
from helpers import array

from keras_sparse.training.find_optimizer import sparse_momentum_of


def step_by_hand(optimizer, variables, steps=1):
    """Steps with random gradients, the same at every call."""
    rng = np.random.default_rng(7)
    for _ in range(steps):
        gradients = [rng.normal(size=variable.shape).astype("float32") for variable in variables]
        optimizer.apply(list(map(keras.ops.convert_to_tensor, gradients)), variables)


def go_on(model):
    """A training goes on with an open window: two steps, a mask update and a step; its state."""
    optimizer = sparse_momentum_of(model)
    optimizer.updates_are_planned = True
    optimizer.start_training(10)
    optimizer.open_growth_window(True)
    step_by_hand(model.optimizer, model.trainable_variables, steps=2)
    optimizer.update_masks()
    step_by_hand(model.optimizer, model.trainable_variables)
    return state_of(model)


def training_by_hand(optimizer, model, steps=16, every=4):
    """Goes on once masks are made, and after each update of a training by random gradients."""
    optimizer.build(model)
    optimizer.start_training(steps)
    yield 0
    for step in range(1, steps):
        step_by_hand(optimizer, model.trainable_variables)
        if step % every == 0:
            optimizer.update_masks()
            yield step


def state_of(model):
    """Copies of all weights, of all that the optimizer holds, and of the masks."""
    masks = sparse_momentum_of(model).masks.values()
    return [
        *map(array, [*model.variables, *model.optimizer.variables]),
        *(mask.copy() for mask in masks),
    ]
