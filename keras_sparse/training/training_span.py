"""The optimizer steps at which a training begins and ends, as ``fit`` makes them known."""

import dataclasses

from keras_sparse.training.epoch_plan import Epoch, FitLength
from keras_sparse.training.sparse_momentum import SparseMomentum


class TrainingSpan:
    """Keeps the counters that schedules and resumed trainings read; all are optimizer steps.

    Args:
        optimizer: its counters are kept.
        steps_per_batch: optimizer steps in a batch; None: not known before the first batch.

    Attributes:
        fit: what is known of the length of the ``fit``.
    """

    def __init__(self, optimizer: SparseMomentum, steps_per_batch: int | None) -> None:
        self._optimizer = optimizer
        self.fit = FitLength(steps_per_batch=steps_per_batch)
        self._first_epoch = 0  # of the training, in this fit
        self._fit_began: tuple[int, int] | None = None  # at this epoch and step

    def begin(self, epochs: int, batches: int | None, execution: int) -> None:
        """A ``fit`` begins; arguments as for FitLength."""
        self._fit_began = None
        accumulation = self._optimizer.gradient_accumulation_steps or 1
        self.fit = FitLength(epochs, batches, execution, self.fit.steps_per_batch, accumulation)

    def open_epoch(self, number: int, now: int) -> bool:
        """Notes that an epoch begins at this step; True: it was interrupted, and is resumed."""
        optimizer, open_epoch = self._optimizer, self._optimizer.counter("epoch")
        if number == 0 and open_epoch == 1 and self._has_another_length(now):
            open_epoch = 0
        if open_epoch == 0 or number + 1 < open_epoch:  # none is open, or it is not resumed
            self._begin_schedules(number, now)
            self._first_epoch = number
        elif optimizer.counter("training_stop") == -1 and number > self._first_epoch:
            start, first = optimizer.counter("training_start"), self._first_epoch
            if now > start:  # an epoch's length is known by now
                stop = start + (now - start) * (self.fit.epochs - first) // (number - first)
                optimizer.set_counter("training_stop", stop)
        self._measure(number, now)
        optimizer.set_counter("epoch", number + 1)
        return open_epoch == number + 1

    def _has_another_length(self, now: int) -> bool:
        """Is this no resumption of a training that was stopped in its first epoch?

        That one is as long, and ends later by the steps that it has made.
        """
        start, planned = (self._optimizer.counter(f"training_{end}") for end in ("start", "stop"))
        stop = self.fit.stop(0, now)
        return stop is not None and planned >= 0 and stop - planned != now - start

    def _measure(self, number: int, now: int) -> None:
        """A model whose own step accumulates gradients makes fewer steps than it has batches.

        The epochs of this fit that have ended tell how many.
        """
        if self._fit_began is None:
            self._fit_began = number, now
        first, began = self._fit_began
        epochs, made, fit = number - first, now - began, self.fit
        of_keras = self._optimizer.gradient_accumulation_steps
        if of_keras or fit.steps_per_batch != 1 or not fit.batches or made < 1:
            return
        accumulation = max(1, round(epochs * fit.batches / made))
        if accumulation == fit.accumulation == 1:
            return  # loss scaling may have skipped a few steps
        self.fit = dataclasses.replace(fit, accumulation=accumulation)
        if now >= self._optimizer.announced_stop:
            stop = now + made * (fit.epochs - number) // epochs
            self._optimizer.set_counter("training_stop", stop)

    def count_steps(self, epoch: Epoch, batches: int) -> bool:
        """Counts the steps that the model makes in a batch: then the length of the fit is known.

        Args:
            epoch: the one that runs.
            batches: those of it that have ended.

        Returns:
            False: the model has made fewer steps than batches.
        """
        made = (self._optimizer.step() - epoch.now) // batches
        if made < 1:
            return False
        self.fit = dataclasses.replace(self.fit, steps_per_batch=made)
        start = self._optimizer.counter("training_start")
        if self._optimizer.counter("training_stop") == -1 and start == epoch.now:
            self._begin_schedules(epoch.number, start)
        return True

    def _begin_schedules(self, number: int, now: int) -> None:
        stop, announced = self.fit.stop(number, now), self._optimizer.announced_stop
        is_part = now < announced and (stop is None or stop <= announced)
        if not is_part:  # of a longer training
            self._optimizer.set_training(now, stop)
