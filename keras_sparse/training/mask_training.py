"""One optimizer's masks in one training: the planner says when they change, this does it."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_sparse.rules.initial_masks import initial_mask
from keras_sparse.rules.update_times import (
    AtEpochs,
    AtSteps,
    EverySteps,
    Planner,
    UpdateTimes,
    last_pruning,
    period_of_short_training,
)
from keras_sparse.training import final_density
from keras_sparse.training.final_density import FinalDensity
from keras_sparse.training.phases import AlternatingOverTraining
from keras_sparse.training.schedules import OverTraining, TfmotDensity
from keras_sparse.training.sparse_momentum import SparseMomentum


class MaskTraining:
    """Carries out the mask updates of one optimizer while ``fit`` runs.

    Args:
        optimizer: its masks change.
        every: ``"auto"``, ``"epoch"`` or a number of optimizer steps.
        one_step_a_batch: False: the model steps this optimizer itself, which may be more often.
        check: called when an epoch begins and after each update.
    """

    def __init__(
        self,
        optimizer: SparseMomentum,
        every: str | int,
        one_step_a_batch: bool,
        check: Callable[[], None],
    ) -> None:
        self.optimizer = optimizer
        self._every = every
        self._steps_per_batch = (
            1 if one_step_a_batch else None
        )  # None: to be seen after the first batch
        self._check = check
        self._params: Mapping[str, Any] = {}
        self._execution = 1
        self._planner: Planner | None = None
        self._final: FinalDensity | None = None
        self._epoch, self._epoch_start, self._batch = 0, 0, 0
        self._ends_after: int | None = (
            None  # batches of this epoch, the last one; optimizers may skip steps
        )
        self._has_warned = False
        self._begun_at = 0
        self._wait = math.inf  # batches until there is something to look at
        self._unopened_epoch: int | None = None  # begun before Keras had built the model

    # --- what happens in `fit`

    def begin(self, params: Mapping[str, Any], execution: int) -> None:
        """A training begins.

        Args:
            params: ``epochs`` and ``steps``, batches in an epoch, as Keras tells its callbacks.
            execution: batches that run without a callback between them.
        """
        self._params, self._execution = params, execution
        self._wait, self._unopened_epoch = math.inf, None
        if self.optimizer.built:
            self._begun_at = self.optimizer.step()
            self._fit_masks_to_weights()

    def begin_epoch(self, epoch: int) -> None:
        if not self.optimizer.built:
            self._unopened_epoch = epoch
            return
        now = self.optimizer.step()
        begun_before = self._open(epoch, now)
        self._check()
        self._plan(epoch, now, begun_before)
        if self._planner is not None and isinstance(self._planner.times, AtEpochs):
            self._look(now)

    def has_to_look(self, batch: int) -> bool:
        """Is there something to look at before this batch?"""
        return self._wait <= 0 or self._is_end(batch)

    def _is_end(self, batch: int) -> bool:
        return self._ends_after is not None and batch + self._execution >= self._ends_after

    def begin_batch(self, batch: int) -> None:
        self._batch = batch
        if self.has_to_look(batch):
            self._look(self.optimizer.step(), self._is_end(batch))

    def end_batch(self, batch: int) -> None:
        self._wait -= (batch - self._batch + 1) * (
            self._steps_per_batch or 0
        )  # at least the steps made
        if self._unopened_epoch is not None and self.optimizer.built:
            epoch, self._unopened_epoch = self._unopened_epoch, None
            self._plan(epoch, 0, self._open(epoch, 0))
        if self._steps_per_batch is None and self._planner is not None:
            self._count_steps(batch + 1)

    def end(self) -> None:
        if self.optimizer.built:
            self.optimizer.set_counter("epoch", 0)
            self.fit_masks_to_last_weights()

    def made_no_step(self) -> bool:
        """Did the model train without this optimizer?"""
        return self._batch > 0 and (
            not self.optimizer.built or self.optimizer.step() == self._begun_at
        )

    def fit_masks_to_last_weights(self) -> None:
        """At the end of a training: the masks of the weights that the model has now."""
        try:
            self._fit_masks_to_weights()
            self._fit_dense_masks_to_sparse_weights()
        except (
            ValueError
        ) as error:  # the training is done, and its weights are not lost for a message
            warnings.warn(str(error), stacklevel=2)

    def _fit_masks_to_weights(self) -> None:
        """Masks follow weights of an earlier epoch (EarlyStopping puts them back); strangers' weights raise."""
        optimizer = self.optimizer
        try:
            optimizer.follow_weights()
        except ValueError:
            if not callable(optimizer.density):
                raise
            weights = optimizer.trained_weights()  # earlier weights are denser
            optimizer.assign_masks(self._nonzero(), weights)

    def _fit_dense_masks_to_sparse_weights(self) -> None:
        """A training that is stopped in a dense phase may get back weights of a sparse one."""
        optimizer, density = self.optimizer, self.optimizer.density
        if not isinstance(density, AlternatingOverTraining) or not optimizer.built:
            return
        if optimizer.density_is_above(density.final):
            masks = self._nonzero()
            if not optimizer.density_is_above(density.final, masks):
                optimizer.assign_masks(masks, optimizer.trained_weights())

    def _nonzero(self) -> list[np.ndarray]:
        """The masks of weights that are not 0, of those that are trained."""
        structure, rng = self.optimizer.structure, np.random.default_rng(0)  # nothing is drawn
        return [
            initial_mask("nonzero", one.name, one.value, 0, structure, rng)
            for one in self.optimizer.trained_weights()
        ]

    def warn_if_not_reached(self) -> None:
        """After a training: does the model have the density asked for?"""
        optimizer, final = self.optimizer, self._final
        now, stop = (
            (optimizer.step(), optimizer.counter("training_stop")) if optimizer.built else (0, 0)
        )
        if final is None or now < optimizer.announced_stop:
            return
        asked = min(final.value, final.later or 1.0)
        if optimizer.density_is_above(asked) and not (final.later and optimizer.told_of_density):
            optimizer.told_of_density = optimizer.told_of_density or final.later is not None
            text = final_density.not_reached(
                optimizer.total_density(), asked, now, stop, final.later is not None
            )
            warnings.warn(text, stacklevel=2)

    # --- when

    def _count_steps(self, batches: int) -> None:
        """How often does the model step this optimizer in a batch?  Then the length of the training is known, too."""
        optimizer, start = self.optimizer, self.optimizer.counter("training_start")
        made = (optimizer.step() - self._epoch_start) // batches
        self._wait = 0
        if made < 1:
            return
        self._steps_per_batch = made
        if optimizer.counter("training_stop") < 0 and start == self._epoch_start:
            self._begin_schedules(self._epoch, start)
        self._plan(self._epoch, self._epoch_start, begun_before=False)

    def _open(self, epoch: int, now: int) -> bool:
        """Notes that an epoch begins at this step; True: it had begun before the training was killed and resumed."""
        optimizer, open_epoch = self.optimizer, self.optimizer.counter("epoch")
        if (
            open_epoch == 0 or epoch + 1 < open_epoch
        ):  # no training is open, or it is not resumed: this one begins
            self._begin_schedules(epoch, now)
        elif (
            optimizer.counter("training_stop") < 0 and epoch > 0 and now > 0
        ):  # an epoch's length is known by now
            start = optimizer.counter("training_start")
            optimizer.set_counter(
                "training_stop", start + (now - start) * self._params["epochs"] // epoch
            )
        optimizer.set_counter("epoch", epoch + 1)
        return open_epoch == epoch + 1

    def _begin_schedules(self, epoch: int, now: int) -> None:
        steps = self._steps_per_epoch()
        stop = None if steps is None else now + max(1, steps * (self._params["epochs"] - epoch))
        announced = self.optimizer.announced_stop
        if not (
            now < announced and (stop is None or stop <= announced)
        ):  # else the fit is a part of a longer training
            self.optimizer.set_training(now, stop)

    def _plan(self, epoch: int, now: int, begun_before: bool) -> None:
        """Plans the epoch that begins."""
        optimizer, window = self.optimizer, self.optimizer.growth_window_steps()
        self._epoch, self._epoch_start, self._wait = epoch, now, 0
        if optimizer.prune is None:
            optimizer.open_growth_window(window > 0)
            self._wait = math.inf
            return
        start, stop = optimizer.counter("training_start"), optimizer.counter("training_stop")
        times = self._times(now, start, stop, begun_before)
        execution = self._execution * (self._steps_per_batch or 1)
        pruning = math.inf
        if (
            stop > start
            and (final := final_density.final_density(optimizer.density, start, stop)) is not None
        ):
            self._final = final
            last_due = self._last_due(times, start, stop, execution)
            pruning = last_pruning(
                final.reached_at, last_due, start, stop, self._steps_per_epoch() is not None
            )
        steps = self._steps_per_epoch()
        is_last = (
            epoch + 1 >= self._params["epochs"] and steps is not None and stop - now < 2 * steps
        )
        self._ends_after = self._params["steps"] if is_last else None
        self._planner = Planner(times, window, pruning, execution)
        if not self._has_warned and self._steps_per_batch is not None:
            self._has_warned = True
            self._warn_before(epoch, now, times, stop)

    def _look(self, now: int, is_end: bool = False) -> None:
        """Does what the planner says."""
        optimizer = self.optimizer
        if self._planner is None:
            return
        plan = self._planner.at(
            now, optimizer.counter("last_update"), optimizer.window_opened(), is_end
        )
        if plan.update:
            optimizer.update_masks()
        if plan.prune and self._final is not None:
            optimizer.prune_to_density(self._final.value)
            self._planner = dataclasses.replace(self._planner, last_pruning=math.inf)
        if plan.update or plan.prune:
            self._check()
        optimizer.open_growth_window(plan.window_open)
        self._wait = plan.look_again

    def _times(self, now: int, start: int, stop: int, begun_before: bool) -> UpdateTimes:
        steps = self._steps_per_epoch()
        if isinstance(self._every, int):
            return EverySteps(self._every)
        if self._every == "auto":
            if isinstance(self.optimizer.density, TfmotDensity):
                return self.optimizer.density
            if isinstance(self.optimizer.density, AlternatingOverTraining) and stop > start:
                return AtSteps(self.optimizer.density.first_steps(start, stop))
            if steps is not None and stop > start == 0:  # a later training begins with an update
                period = period_of_short_training(stop - start, round((stop - start) / steps))
                if period is not None:
                    return EverySteps(period, start)
        return AtEpochs(now, steps, begun_before)

    def _last_due(self, times: UpdateTimes, start: int, stop: int, execution: int) -> float:
        """The last step at which a regular update is due, and made before the last execution."""
        if not isinstance(times, AtEpochs):
            return times.last_due(stop - execution)
        epochs = max(1, self._params["epochs"])
        return stop - (times.steps or max(1, (stop - start) // epochs))

    def _steps_per_epoch(self) -> int | None:
        batches = self._params.get("steps")
        if not batches or self._steps_per_batch is None:
            return None
        return max(
            1, batches * self._steps_per_batch // (self.optimizer.gradient_accumulation_steps or 1)
        )

    # --- what is said before

    def _warn_before(self, epoch: int, now: int, times: UpdateTimes, stop: int) -> None:
        optimizer, final = self.optimizer, self._final
        one_epoch = self._params["epochs"] - epoch < 2
        if final is None and stop < 0 and one_epoch and isinstance(optimizer.density, OverTraining):
            warnings.warn(
                final_density.UNKNOWN_LENGTH.format(density=optimizer.total_density()), stacklevel=2
            )
        elif final is not None and final.later is not None:
            if not optimizer.told_of_density:
                warnings.warn(final_density.not_within(final, stop), stacklevel=2)
        elif final is None and self._never_updates(times, now, stop, one_epoch):
            warnings.warn(
                "The masks will not be updated in this training: it ends before the first update is due. Update more "
                "often with `UpdateMasks(every=...)`, or train longer. Received: "
                f"every={self._every!r}, epochs={self._params['epochs']}, steps={self._params.get('steps')}",
                stacklevel=2,
            )

    def _never_updates(self, times: UpdateTimes, now: int, stop: int, one_epoch: bool) -> bool:
        last = self.optimizer.counter("last_update")
        if isinstance(times, AtEpochs):
            return one_epoch and now <= last
        return stop > 0 and times.last_due(stop - 1) <= last
