"""A ``Planner`` says at which steps masks change and missing weights need gradients."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Protocol

MIN_PARTS = 10  # of a training, between updates; measured: benchmarks/results/update_period.md
MIN_STEPS = 5  # optimizer steps of a part
LAST_SHARE = 0.05  # at least this share of a training follows the pruning to its final density


class UpdateTimes(Protocol):
    """Steps at which masks change.

    An update is due when ``last_due(now)`` is later than the last update made.
    """

    def last_due(self, step: int) -> float:
        """The last step, up to this one, at which an update was due; -1 if there was none."""

    def next_due(self, step: int) -> float:
        """The first step after this one at which an update is due; infinity if there is none."""


class EverySteps:
    """Every ``period`` steps, counted from ``start``.

    A due step that an execution jumps over is still due after it.

    >>> EverySteps(5).last_due(12), EverySteps(5).next_due(12)
    (10, 15)
    """

    def __init__(self, period: int, start: int = 0) -> None:
        self.period, self.start = period, start

    def last_due(self, step: int) -> float:
        return step - (step - self.start) % self.period

    def next_due(self, step: int) -> float:
        return self.last_due(step) + self.period


class AtSteps:
    """At given optimizer steps. One that an execution jumps over is still due after it.

    >>> AtSteps([0, 20, 40]).last_due(25), AtSteps([0, 20, 40]).next_due(25)
    (20, 40)
    """

    def __init__(self, steps: Iterable[int]) -> None:
        self.steps = sorted(steps)

    def last_due(self, step: int) -> float:
        return max((due for due in self.steps if due <= step), default=-1)

    def next_due(self, step: int) -> float:
        return min((due for due in self.steps if due > step), default=math.inf)


class AtEpochs:
    """At the beginning of each epoch.

    Its step is not known beforehand: ``next_due`` is an estimate.

    Args:
        epoch_start: step at which the running epoch began.
        steps: optimizer steps in an epoch; None: not known.
        begun_before: True: the epoch was interrupted, its update was made, and it is trained again.
    """

    def __init__(self, epoch_start: int, steps: int | None, begun_before: bool = False) -> None:
        self.epoch_start, self.steps, self.begun_before = epoch_start, steps, begun_before

    def last_due(self, step: int) -> float:
        return -1 if self.begun_before else self.epoch_start

    def next_due(self, step: int) -> float:
        return step if self.steps is None else max(self.epoch_start + self.steps, step)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do before the next step."""

    update: bool
    prune: bool  # to the density at which the training is to end
    window_open: bool  # True: missing weights get gradients from this step on
    look_again: float  # batches until the next plan is needed


@dataclasses.dataclass(frozen=True)
class Planner:
    """Decides what to do before the next step.

    Args:
        times: when updates are due.
        window: steps before an update in which missing weights need gradients; infinity: all steps.
        last_pruning: step of an extra pruning to the final density; infinity: none.
        execution: steps that run without a look between them.

    >>> planner = Planner(EverySteps(10), window=3)
    >>> planner.at(5, last_update=0, window_opened=-1)
    Plan(update=False, prune=False, window_open=False, look_again=2)
    >>> planner.at(7, last_update=0, window_opened=-1)
    Plan(update=False, prune=False, window_open=True, look_again=3)
    """

    times: UpdateTimes
    window: float = math.inf
    last_pruning: float = math.inf
    execution: int = 1

    def at(self, now: int, last_update: int, window_opened: int, is_end: bool = False) -> Plan:
        """The plan at this step.

        Args:
            now: optimizer steps made so far.
            last_update: step of the last update.
            window_opened: step at which the growth window was opened; -1: it is closed.
            is_end: True: the last execution of the training begins.
        """
        due = self.times.last_due(now)
        update = due > last_update and self._can_grow(now, due, window_opened)
        late = due > last_update and not update  # the window was closed when the update was due
        opens_in = 0 if late else self._opens_in(now)
        is_open = self.window > 0 and (math.isinf(self.window) or opens_in <= 0)
        due_in = self.times.next_due(now) - now or math.inf  # 0: the epoch's end, not known when
        prune = now >= self.last_pruning or (is_end and self.last_pruning < math.inf)
        looks = [opens_in if 0 < opens_in < math.inf else due_in]
        if late:
            looks.append((now if window_opened < 0 else window_opened) + self.window - now)
        if now < self.last_pruning < math.inf:
            looks.append(self.last_pruning - now - self.execution + 1)
        return Plan(update, prune, is_open, max(1, min(looks)))

    def _can_grow(self, now: int, due: float, opened: int) -> bool:
        """Was the window open for long enough, or at least before this update was due?"""
        return opened >= 0 and (opened < due or now - opened >= self.window)

    def _opens_in(self, now: int) -> float:
        """Steps until the window opens.

        A window that would open within an execution opens at the execution's start.
        """
        if self.window in (0, math.inf):
            return math.inf if self.window == 0 else 0
        return self.times.next_due(now) - now - self.window - self.execution + 1


def period_of_short_training(steps: int, epochs: int) -> int | None:
    """Steps between the updates of a training of few epochs; None: an update an epoch is enough.

    >>> period_of_short_training(120, epochs=2), period_of_short_training(600, epochs=10)
    (12, None)
    """
    if epochs >= MIN_PARTS:
        return None
    period = max(MIN_STEPS, -(-steps // MIN_PARTS))
    return period if period * max(epochs, 1) < steps else None  # no finer than epochs


def last_pruning(
    reached_at: float, last_due: float, start: int, stop: int, length_is_known: bool
) -> float:
    """The step at which to prune to the final density, or infinity where a regular update does.

    Some training follows it: LAST_SHARE, or what the schedule leaves.

    Args:
        reached_at: step at which the schedule reaches its final density.
        last_due: step of the last regular update in the training.
        start: step at which the training begins.
        stop: step at which it ends.
        length_is_known: False: ``stop`` is an estimate, one too many in Keras.

    >>> last_pruning(75, last_due=50, start=0, stop=100, length_is_known=True)
    75
    >>> last_pruning(100, last_due=50, start=0, stop=100, length_is_known=True)
    95
    >>> last_pruning(75, last_due=80, start=0, stop=100, length_is_known=True)
    inf
    """
    if last_due >= reached_at:
        return math.inf
    left = max(1, round(LAST_SHARE * (stop - start))) + (not length_is_known)
    return max(start, min(reached_at, stop - left))
