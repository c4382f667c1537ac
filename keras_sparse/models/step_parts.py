"""Divides the time of a training step into forward pass, backward pass, optimizer and window."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import tree

from keras_sparse.compute.gpu_kernels import has_gpu
from keras_sparse.models.turns import ratio

FORWARD, GRADIENTS = "forward", "gradients"


@dataclasses.dataclass(frozen=True)
class StepParts:
    """Seconds of the parts of a step with sparse layers, wall time.

    Attributes:
        forward: the forward pass and the loss, growth window closed.
        backward: what the gradients take in addition; None where the step took less than both
            passes alone.
        optimizer: what the whole step takes in addition: optimizer and masks, and with
            ``backward=None`` the backward pass, too.
        window: what the step takes in addition while the window is open.
    """

    forward: float
    backward: float | None
    optimizer: float
    window: float

    @property
    def step(self) -> float:
        """Seconds of a whole step, growth window closed."""
        return self.forward + (self.backward or 0.0) + self.optimizer


def passes(
    model: keras.Model, data: Any, close_window: Callable[[], None]
) -> dict[str, Callable[[], None]]:
    """The forward pass alone, and with the gradients of all trained weights, to be timed.

    Args:
        model: compiled; its ``compute_loss`` takes no targets.
        data: inputs, in the structure of the model's call.
        close_window: closes the growth window; called before each pass.
    """
    import tensorflow as tf

    inputs = tree.map_structure(tf.constant, data)
    weights = [variable.value for variable in model.trainable_variables]
    waits = has_gpu()

    def forward(inputs: Any) -> Any:
        return model.compute_loss(inputs, None, model(inputs, training=True))

    def gradients(inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = forward(inputs)
        return loss, tape.gradient(loss, weights)

    def timed(function: Callable[[Any], Any]) -> Callable[[], None]:
        traced = tf.function(function, jit_compile=model.jit_compile, autograph=False)

        def run() -> None:
            close_window()
            traced(inputs)
            if waits:
                tf.test.experimental.sync_devices()

        return run

    return {FORWARD: timed(forward), GRADIENTS: timed(gradients)}


def parts_of(seconds: Mapping[str, list[float]]) -> StepParts:
    """The parts, from the seconds of the passes and of steps with the window closed and open.

    A pass is compared with the step of the same turn, which saw the same machine.

    >>> seconds = {"forward": [1.0], "gradients": [3.0], "closed": [3.5], "open": [5.5]}
    >>> parts_of(seconds)
    StepParts(forward=1.0, backward=2.0, optimizer=0.5, window=2.0)
    >>> parts_of(seconds).step
    3.5
    >>> parts_of(seconds | {"closed": [2.5]})
    StepParts(forward=1.0, backward=None, optimizer=1.5, window=3.0)
    """
    step = statistics.median(seconds["closed"])
    forward, both, opened = (
        step * ratio(seconds[name], seconds["closed"]) for name in (FORWARD, GRADIENTS, "open")
    )
    window = max(0.0, opened - step)
    if both > step:
        return StepParts(forward, None, max(0.0, step - forward), window)
    return StepParts(forward, max(0.0, both - forward), step - max(both, forward), window)
