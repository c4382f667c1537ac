"""When is the next mask update due?  Plain arithmetic on optimizer steps."""

import math
from typing import Protocol


class UpdateTimes(Protocol):
    """Steps at which masks change. An update is due when ``last_due(now)`` is later than the last update made."""

    def last_due(self, step: int) -> float:
        """The last step, up to this one, at which an update was due; -1 if there was none."""

    def next_due(self, step: int) -> float:
        """The first step after this one at which an update is due; infinity if there is none."""


class EverySteps:
    """At every multiple of ``period``. Right for any number of steps per execution: a multiple jumped over is still due.

    >>> EverySteps(5).last_due(12), EverySteps(5).next_due(12)
    (10, 15)
    """

    def __init__(self, period: int) -> None:
        self.period = period

    def last_due(self, step: int) -> float:
        return step - step % self.period

    def next_due(self, step: int) -> float:
        return step + self.period - step % self.period


class AtEpochs:
    """At the beginning of epochs, which are no steps known beforehand; ``next_due`` is an estimate from the epoch's length.

    Args:
        epoch_start: the step at which the running epoch began.
        steps: optimizer steps in an epoch, or None if unknown.
        is_last: no epoch follows the running one.
    """

    def __init__(self, epoch_start: int, steps: int | None, is_last: bool) -> None:
        self.epoch_start, self.steps, self.is_last = epoch_start, steps, is_last

    def last_due(self, step: int) -> float:
        return -1  # the callback updates at the epoch's beginning, not by steps

    def next_due(self, step: int) -> float:
        if self.is_last:
            return math.inf
        return step if self.steps is None else max(self.epoch_start + self.steps, step)
