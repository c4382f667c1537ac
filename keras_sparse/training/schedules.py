"""Schedules of the prune rate and the density over optimizer steps.

A schedule is a number, any ``keras.optimizers.schedules.LearningRateSchedule`` or function of the
step, or one of the two classes here. These need no step counts: they follow the training from its
first to its last step. A density may also be one of tfmot's pruning schedules.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras

from keras_sparse._keras import to_numpy
from keras_sparse.rules.density import check_density
from keras_sparse.rules.received import received
from keras_sparse.training.tfmot_density import TfmotDensity


class OverTraining:
    """A value that follows the training: called with progress in [0, 1] instead of a step."""

    def __init__(self, initial: float, final: float) -> None:
        for name, value in (("initial", initial), ("final", final)):
            if not (isinstance(value, numbers.Real) and 0.0 <= value <= 1.0):
                raise ValueError(f"`{name}` must be in [0, 1]. {received(**{name: value})}")
        self.initial, self.final = float(initial), float(final)

    def __call__(self, progress: float) -> float:
        raise NotImplementedError(
            f"{type(self).__name__} must say what its value is at a progress in [0, 1]."
        )

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({values})"

    def get_config(self) -> dict[str, Any]:
        return {"initial": self.initial, "final": self.final}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OverTraining":
        return cls(**config)


@keras.saving.register_keras_serializable("keras_sparse")
class CosineOverTraining(OverTraining):
    """Half a cosine from ``initial`` to ``final`` over the training: the paper's prune rate.

    Args:
        initial: value at the first step, in [0, 1]; 0.5 in the paper, 0.2 on ImageNet.
        final: value at the last step, in [0, 1].

    Raises:
        ValueError: a value out of range.

    >>> CosineOverTraining(0.5, 0.005)(0.5)
    0.2525
    """

    def __init__(self, initial: float = 0.5, final: float = 0.005) -> None:
        super().__init__(initial, final)

    def __call__(self, progress: float) -> float:
        return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * progress)) / 2


@keras.saving.register_keras_serializable("keras_sparse")
class CubicOverTraining(OverTraining):
    """The cubic of gradual magnitude pruning (Zhu & Gupta 2017, equation 1).

    From ``initial`` at ``begin`` to ``final`` at ``end``.

    Args:
        final: density from ``end`` on, in (0, 1].
        initial: density until ``begin``, in (0, 1].
        begin: progress in [0, 1] at which pruning begins.
        end: progress in [0, 1] at which pruning ends, after ``begin``.

    Raises:
        ValueError: a value out of range, or ``end`` not after ``begin``.

    >>> CubicOverTraining(0.1, end=1.0)(0.5)
    0.2125
    """

    def __init__(
        self, final: float, initial: float = 1.0, begin: float = 0.0, end: float = 0.75
    ) -> None:
        super().__init__(initial, final)
        are_numbers = isinstance(begin, numbers.Real) and isinstance(end, numbers.Real)
        if not are_numbers or not 0.0 <= begin < end <= 1.0:
            raise ValueError(
                "`begin` and `end` must be in [0, 1], `begin` first. "
                f"{received(begin=begin, end=end)}"
            )
        self.begin, self.end = begin, end

    def __call__(self, progress: float) -> float:
        left = 1 - min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.final + (self.initial - self.final) * left**3

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "begin": self.begin, "end": self.end}


def check_as_density(density: Any) -> None:
    """Raises ValueError for a number outside (0, 1], or a schedule that ends outside, or rises.

    What follows the optimizer step is not known before.
    """
    if not callable(density):
        check_density(density)
    if not isinstance(density, OverTraining):
        return
    first, last = density(0.0), density(1.0)
    if not 0.0 < last <= first <= 1.0:
        raise ValueError(
            "`density` must be in (0, 1], and no larger at the end of the training than at its "
            f"beginning. Received: density={density}, from {first:.4g} to {last:.4g}"
        )


Schedule = float | OverTraining | TfmotDensity | Callable[[Any], Any]


def get(value: Any, argument: str) -> Schedule:
    """A schedule from what the user gave.

    Args:
        value: a number in [0, 1], a schedule, a function of the step, or a tfmot schedule.
        argument: its name, for the error.

    Raises:
        ValueError: anything else.
    """
    if any(base.__name__ == "PruningSchedule" for base in type(value).__mro__):
        return TfmotDensity(value)
    if callable(value):
        return value
    if (
        isinstance(value, numbers.Real)
        and not isinstance(value, bool)
        and 0.0 <= float(value) <= 1.0
    ):
        return float(value)
    raise ValueError(
        f"`{argument}` must be a number in [0, 1] or a schedule. {received(**{argument: value})}"
    )


def value_at_step(schedule: Any, step: int) -> float:
    """The value at an optimizer step of a schedule that does not follow the training."""
    return float(to_numpy(schedule(step)))


def value_at(schedule: Schedule, step: int, start: int, stop: int, argument: str) -> float:
    """The value of a schedule at an optimizer step.

    Args:
        schedule: a number or a schedule.
        step: optimizer steps made so far.
        start: step at which the training began.
        stop: step at which it ends; -1: not known.
        argument: the name of the schedule, for the error.

    Raises:
        ValueError: the schedule follows the training, and its end is not known.
    """
    if isinstance(schedule, float):
        return schedule
    if not isinstance(schedule, OverTraining):
        return value_at_step(schedule, step)
    if stop < 0:
        raise ValueError(
            f"`{argument}` follows the training, and the length of this training is not known. "
            "Pass `steps_per_epoch` to `fit`; in a custom loop call "
            f"`optimizer.start_training(steps)`, or pass `{argument}=` a number or a Keras "
            "schedule, e.g. keras.optimizers.schedules.CosineDecay(0.5, steps, alpha=0.01). "
            f"Received: {argument}={schedule}"
        )
    return schedule(min(max((step - start) / max(stop - start, 1), 0.0), 1.0))
