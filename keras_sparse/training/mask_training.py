"""One optimizer's masks in one training: the plan says when they change, this does it."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from keras_sparse.compute.free_memory import release_memory
from keras_sparse.rules.update_times import AtEpochs
from keras_sparse.training.epoch_plan import Epoch, EpochPlan, FitLength, plan_epoch
from keras_sparse.training.final_density import FinalDensity
from keras_sparse.training.restored_weights import follow_last_weights, follow_restored_weights
from keras_sparse.training.sparse_momentum import SparseMomentum
from keras_sparse.training.training_span import TrainingSpan
from keras_sparse.training.training_warnings import warn_after, warn_before


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
        self._every, self._check = every, check
        self._span = TrainingSpan(optimizer, 1 if one_step_a_batch else None)
        self._plan: EpochPlan | None = None
        self._final: FinalDensity | None = None
        self._epoch: Epoch  # the one that was planned last
        self._batch = self._begun_at = 0
        self._in_batch = False  # begun, and not accounted for
        self._batches_to_next_check = math.inf
        self._unopened_epoch: int | None = None  # begun before Keras had built the model
        self._has_warned = self._masks_are_new = False

    @property
    def _fit(self) -> FitLength:
        return self._span.fit

    # --- what happens in `fit`

    def begin(self, params: Mapping[str, Any], execution: int) -> None:
        """A training begins.

        Args:
            params: ``epochs`` and ``steps``, batches in an epoch, as Keras gives them to callbacks.
            execution: batches that run without a callback between them.
        """
        self._span.begin(params.get("epochs", 1), params.get("steps"), execution)
        if self.optimizer.built:
            self._begun_at = self.optimizer.step()
            follow_restored_weights(self.optimizer)

    def begin_epoch(self, number: int) -> None:
        if not self.optimizer.built:
            self._unopened_epoch = number
            return
        now = self.optimizer.step()
        begun_before = self._span.open_epoch(number, now)
        self._check()
        self._make_plan(number, now, begun_before)
        if self._plan is not None and isinstance(self._plan.planner.times, AtEpochs):
            self._carry_out(now)

    def has_to_look(self, batch: int) -> bool:
        """Is there something to look at before this batch?"""
        return self._batches_to_next_check <= 0 or self._is_end(batch)

    def _is_end(self, batch: int) -> bool:
        ends_after = None if self._plan is None else self._plan.ends_after
        return ends_after is not None and batch + self._fit.execution >= ends_after

    def begin_batch(self, batch: int) -> None:
        self._batch, self._in_batch = batch, True
        if self.has_to_look(batch):
            self._carry_out(self.optimizer.step(), self._is_end(batch))

    def end_last_batch(self, next_batch: int | None = None) -> None:
        """The batches that were begun have ended.

        Args:
            next_batch: the one that begins; None: the epoch has ended.
        """
        if self._in_batch:
            end = self._batch + self._fit.execution
            if next_batch is None and self._fit.batches:
                end = min(end, self._fit.batches)
            self.end_batch((next_batch or end) - 1)

    def end_batch(self, batch: int) -> None:
        self._in_batch = False
        if self._masks_are_new:
            self._masks_are_new = False
            # of the lists of active weights that were made anew
            release_memory(self.optimizer.masked_bytes())
        if self._unopened_epoch is not None and self.optimizer.built:
            number, self._unopened_epoch = self._unopened_epoch, None
            self._make_plan(number, 0, self._span.open_epoch(number, 0))
        if self._fit.steps_per_batch is not None:
            # at least these steps were made
            self._batches_to_next_check -= (batch - self._batch + 1) * self._fit.steps_per_batch
        elif self._plan is not None:
            self._batches_to_next_check = -math.inf  # at once
            if self._span.count_steps(self._epoch, batch + 1):
                self._make_plan(self._epoch.number, self._epoch.now, self._epoch.begun_before)

    def end(self) -> None:
        if self.optimizer.built:
            self.optimizer.set_counter("epoch", 0)
            follow_last_weights(self.optimizer)

    def end_after_other_callbacks(self) -> None:
        """Others may have put weights back; then it is known whether the density was reached."""
        follow_last_weights(self.optimizer)
        warn_after(self.optimizer, self._final)

    def made_no_step(self) -> bool:
        """Did the model train without this optimizer?"""
        return self._batch > 0 and (
            not self.optimizer.built or self.optimizer.step() == self._begun_at
        )

    # --- the plan

    def _make_plan(self, number: int, now: int, begun_before: bool) -> None:
        """Plans the epoch that begins."""
        optimizer, window = self.optimizer, self.optimizer.growth_window_steps()
        start, stop = optimizer.counter("training_start"), optimizer.counter("training_stop")
        self._epoch = Epoch(number, now, start, stop, begun_before)
        if optimizer.prune is None:
            optimizer.open_growth_window(window > 0)
            self._batches_to_next_check = math.inf
            return
        self._batches_to_next_check = -math.inf  # at once
        self._plan = plan_epoch(self._every, optimizer.density, window, self._fit, self._epoch)
        self._final = self._plan.final or self._final
        if not self._has_warned and self._fit.steps_per_batch is not None:
            self._has_warned = True
            times = self._plan.planner.times
            warn_before(self.optimizer, self._every, times, self._fit, self._epoch, self._final)

    def _carry_out(self, now: int, is_end: bool = False) -> None:
        """Does what the plan says for this step."""
        optimizer, plan = self.optimizer, self._plan
        if plan is None:
            return
        last_update, opened = optimizer.counter("last_update"), optimizer.window_opened()
        todo = plan.planner.at(now, last_update, opened, is_end)
        if todo.update:
            optimizer.update_masks()
        if todo.prune and self._final is not None:
            optimizer.prune_to_density(self._final.value)
            planner = dataclasses.replace(plan.planner, last_pruning=math.inf)
            self._plan = dataclasses.replace(plan, planner=planner)
        if todo.update or todo.prune:
            self._masks_are_new = True
            self._check()
        optimizer.open_growth_window(todo.window_open)
        self._batches_to_next_check = todo.look_again
