"""Schedules of the prune rate and the density over optimizer steps.

A schedule is a number, any ``keras.optimizers.schedules.LearningRateSchedule`` or function of the step, or one of the
two classes here, which need no step counts because they follow the training from its first to its last step. A density
may also be one of tfmot's pruning schedules.
"""

import math
import numbers
from collections.abc import Callable
from typing import Any

import keras

from keras_sparse._keras import to_numpy


class OverTraining:
    """A value that follows the training: called with progress in [0, 1] instead of a step."""

    def __init__(self, initial: float, final: float) -> None:
        for name, value in (("initial", initial), ("final", final)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={value!r}")
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

    >>> CosineOverTraining(0.5, 0.005)(0.5)
    0.2525
    """

    def __init__(self, initial: float = 0.5, final: float = 0.005) -> None:
        super().__init__(initial, final)

    def __call__(self, progress: float) -> float:
        return self.final + (self.initial - self.final) * (1 + math.cos(math.pi * progress)) / 2


@keras.saving.register_keras_serializable("keras_sparse")
class CubicOverTraining(OverTraining):
    """The cubic of gradual magnitude pruning (Zhu & Gupta 2017, equation 1): from ``initial`` at ``begin`` to ``final`` at ``end``.

    Args:
        final: density from ``end`` on, in (0, 1].
        initial: density until ``begin``, in (0, 1].
        begin: progress in [0, 1] at which pruning begins.
        end: progress in [0, 1] at which pruning ends, after ``begin``.

    >>> CubicOverTraining(0.1, end=1.0)(0.5)
    0.2125
    """

    def __init__(
        self, final: float, initial: float = 1.0, begin: float = 0.0, end: float = 0.75
    ) -> None:
        super().__init__(initial, final)
        if not 0.0 <= begin < end <= 1.0:
            raise ValueError(
                f"`begin` and `end` must be in [0, 1], `begin` first. Received: begin={begin}, end={end}"
            )
        self.begin, self.end = begin, end

    def __call__(self, progress: float) -> float:
        left = 1 - min(max((progress - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.final + (self.initial - self.final) * left**3

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "begin": self.begin, "end": self.end}


@keras.saving.register_keras_serializable("keras_sparse")
class TfmotDensity:
    """The density that a tfmot pruning schedule asks for: 1 before its first step, 1 - sparsity from there on.

    Args:
        schedule: ``tfmot.sparsity.keras.PolynomialDecay``, ``ConstantSparsity`` or a subclass of ``PruningSchedule``.
    """

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule
        self.begin_step = int(schedule.begin_step)
        self.end_step = math.inf if schedule.end_step < 0 else int(schedule.end_step)
        self.frequency = int(schedule.frequency)

    def __call__(self, step: int) -> float:
        if step < self.begin_step:
            return 1.0
        return self._asks_for(self.last_due(step))

    def last_due(self, step: int) -> int:
        """The last step, up to this one, in which tfmot would have pruned; -1 if there was none."""
        if step < self.begin_step:
            return -1
        if step >= self.end_step and self._ends_between():
            return int(self.end_step)
        step = int(min(step, self.end_step))
        return step - (step - self.begin_step) % self.frequency

    def next_due(self, step: int) -> float:
        """The first step after this one in which tfmot would prune; infinity if there is none."""
        if step >= self.end_step:
            return math.inf
        following = (
            self.begin_step if step < self.begin_step else self.last_due(step) + self.frequency
        )
        if following > self.end_step:
            return self.end_step if self._ends_between() else math.inf
        return following

    def final(self) -> float:
        """The density at which the schedule ends."""
        return self(
            self.begin_step
            if math.isinf(self.end_step)
            else max(int(self.end_step), self.begin_step)
        )

    def _ends_between(self) -> bool:
        """Is its last step none that tfmot prunes in, and the density still falling?  Then masks change in it, too."""
        if math.isinf(self.end_step) or self.end_step < self.begin_step:
            return False
        skipped = int(self.end_step - self.begin_step) % self.frequency
        return skipped > 0 and self._asks_for(int(self.end_step)) < self._asks_for(
            int(self.end_step) - skipped
        )

    def _asks_for(self, step: int) -> float:
        _, sparsity = self.schedule(step)
        return 1.0 - round(float(sparsity), 6)  # tfmot computes in float32

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={value!r}" for key, value in self.get_config()["config"].items())
        return f"{type(self.schedule).__name__}({values})"

    def get_config(self) -> dict[str, Any]:
        return {
            "name": type(self.schedule).__name__,
            "config": self.schedule.get_config()["config"],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "TfmotDensity":
        from tensorflow_model_optimization.sparsity import keras as tfmot

        return cls(getattr(tfmot, config["name"])(**config["config"]))


Schedule = float | OverTraining | TfmotDensity | Callable[[Any], Any]


def get(value: Any, argument: str) -> Schedule:
    """A schedule from what the user gave: a number, a schedule, a function of the step, or a tfmot schedule."""
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
        f"`{argument}` must be a number in [0, 1] or a schedule. Received: {argument}={value!r}"
    )


def value_at(schedule: Schedule, step: int, start: int, stop: int, argument: str) -> float:
    """The schedule's value at an optimizer step of a training that runs from step ``start`` to ``stop`` (-1: unknown)."""
    if isinstance(schedule, float):
        return schedule
    if isinstance(schedule, TfmotDensity):
        return schedule(step)
    if not isinstance(schedule, OverTraining):
        return float(to_numpy(schedule(step)))
    if stop < 0:
        raise ValueError(
            f"`{argument}` follows the training, and the length of this training is not known. Pass `steps_per_epoch` to "
            f"`fit`; in a custom loop call `optimizer.start_training(steps)`, or pass `{argument}=` a number or a Keras "
            f"schedule, e.g. keras.optimizers.schedules.CosineDecay(0.5, steps, alpha=0.01). Received: {argument}={schedule}"
        )
    return schedule(min(max((step - start) / max(stop - start, 1), 0.0), 1.0))
