"""A pruning schedule of tfmot (TensorFlow Model Optimization) as a density over optimizer steps."""

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable("keras_sparse")
class TfmotDensity:
    """The density that a tfmot pruning schedule asks for.

    It is 1 before the schedule's first step, and 1 - sparsity from there on.

    Args:
        schedule: ``tfmot.sparsity.keras.PolynomialDecay``, ``ConstantSparsity`` or a subclass of
            ``PruningSchedule``.
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
        """Is its last step none that tfmot prunes in, and does the density still fall?

        Then masks change in it, too.
        """
        end = int(self.end_step)
        skipped = (end - self.begin_step) % self.frequency
        return self._asks_for(end) < self._asks_for(end - skipped)

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
