"""The plan of an epoch: when masks change in it, and what density the training ends at.

Follows ``every``, the density schedule, and what is known of the length of the ``fit``.
"""

import dataclasses
import math
from typing import Any

from keras_sparse.rules.received import received
from keras_sparse.rules.update_times import (
    AtEpochs,
    AtSteps,
    EverySteps,
    Planner,
    UpdateTimes,
    last_pruning,
    period_of_short_training,
)
from keras_sparse.rules.whole_numbers import is_positive_integer
from keras_sparse.training.final_density import FinalDensity, final_density
from keras_sparse.training.phases import AlternatingOverTraining
from keras_sparse.training.schedules import Schedule
from keras_sparse.training.tfmot_density import TfmotDensity


def check_every(value: Any) -> int | str:
    """When masks change: "auto", which None means, too, "epoch", or a number of steps.

    Raises:
        ValueError: anything else.
    """
    if value is None or (isinstance(value, str) and value in ("auto", "epoch")):
        return value or "auto"
    if is_positive_integer(value):
        return int(value)
    rule = 'must be a positive integer, "epoch" or "auto"'
    raise ValueError(f"`every` {rule}. {received(every=value)}")


@dataclasses.dataclass(frozen=True)
class FitLength:
    """What is known of the length of a ``fit``.

    Args:
        epochs: epochs, those before its initial epoch included.
        batches: batches in an epoch; None: not known.
        execution: batches that run without a callback between them.
        steps_per_batch: optimizer steps in a batch; None: not known before the first batch.
        accumulation: batches whose gradients make one optimizer step.
    """

    epochs: int = 1
    batches: int | None = None
    execution: int = 1
    steps_per_batch: int | None = 1
    accumulation: int = 1

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps in an epoch; None: not known."""
        if not self.batches or self.steps_per_batch is None:
            return None
        return max(1, self.batches * self.steps_per_batch // self.accumulation)

    @property
    def steps_per_execution(self) -> int:
        return self.execution * (self.steps_per_batch or 1)

    def stop(self, epoch: int, now: int) -> int | None:
        """The step at which a ``fit`` ends whose epoch begins at step ``now``; None: not known.

        >>> FitLength(epochs=3, batches=10).stop(epoch=1, now=5)
        25
        """
        steps = self.steps_per_epoch
        return None if steps is None else now + max(1, steps * (self.epochs - epoch))


@dataclasses.dataclass(frozen=True)
class Epoch:
    """An epoch that begins.

    Args:
        number: its number, from 0.
        now: optimizer step at which it begins.
        start: optimizer step at which the training began.
        stop: optimizer step at which the training ends; -1: not known.
        begun_before: True: it was interrupted after its update, and is trained again.
    """

    number: int
    now: int
    start: int
    stop: int
    begun_before: bool = False


@dataclasses.dataclass(frozen=True)
class EpochPlan:
    """When masks change in an epoch.

    Args:
        planner: says at each step what to do.
        final: density at which the training ends; None: it does not move, or is not known.
        ends_after: batches of the epoch, if it is the last one; None: it is not, or not known.
    """

    planner: Planner
    final: FinalDensity | None
    ends_after: int | None


def plan_epoch(
    every: str | int, density: Schedule, window: float, fit: FitLength, epoch: Epoch
) -> EpochPlan:
    """The plan of an epoch that begins.

    Args:
        every: ``"auto"``, ``"epoch"`` or a number of optimizer steps.
        density: a number or a schedule.
        window: steps before an update in which missing weights need gradients: 0, none; infinity,
            all.
        fit: its length.
        epoch: which one it is.

    >>> plan_epoch(5, 0.1, 0, FitLength(epochs=2, batches=10), Epoch(1, 10, 0, 20)).ends_after
    10
    """
    times = _times(every, density, fit, epoch)
    final, pruning = None, math.inf
    if epoch.stop > epoch.start:
        final = final_density(density, epoch.start, epoch.stop)
    steps = fit.steps_per_epoch
    if final is not None:
        last_due = _last_due(times, fit, epoch)
        known = steps is not None
        pruning = last_pruning(final.reached_at, last_due, epoch.start, epoch.stop, known)
    # optimizers may skip steps: batches determine the end
    is_last = epoch.number + 1 >= fit.epochs
    ends = is_last and steps is not None and epoch.stop - epoch.now < 2 * steps
    planner = Planner(times, window, pruning, fit.steps_per_execution)
    return EpochPlan(planner, final, fit.batches if ends else None)


def never_updates(every: UpdateTimes, last_update: int, fit: FitLength, epoch: Epoch) -> bool:
    """Does a training, whose epoch begins, end before an update is due?"""
    if isinstance(every, AtEpochs):
        return fit.epochs - epoch.number < 2 and epoch.now <= last_update
    return epoch.stop != -1 and every.last_due(epoch.stop - 1) <= last_update


def _times(every: str | int, density: Schedule, fit: FitLength, epoch: Epoch) -> UpdateTimes:
    if isinstance(every, int):
        return EverySteps(every)
    steps, length = fit.steps_per_epoch, epoch.stop - epoch.start
    if every == "auto":
        if isinstance(density, TfmotDensity):
            return density
        if isinstance(density, AlternatingOverTraining) and length > 0:
            return AtSteps(density.first_steps(epoch.start, epoch.stop))
        if steps is not None and epoch.stop > epoch.start == 0:
            period = period_of_short_training(length, round(length / steps))
            if period is not None:  # a later training begins with an update
                return EverySteps(period, epoch.start)
    return AtEpochs(epoch.now, steps, epoch.begun_before)


def _last_due(times: UpdateTimes, fit: FitLength, epoch: Epoch) -> float:
    """The last step at which a regular update is due, and made before the last execution."""
    if not isinstance(times, AtEpochs):
        return times.last_due(epoch.stop - fit.steps_per_execution)
    length = epoch.stop - epoch.start
    return epoch.stop - (times.steps or max(1, length // fit.epochs))
