"""When do the masks change in ``fit``, and what happened?  The UpdateMasks callback."""

import math
import warnings
from typing import Any

import keras

from keras_sparse import agreement
from keras_sparse._keras import check_keras_3, running_callbacks, strategy_scope, to_float32
from keras_sparse.compiled import check_settings, looks_trained, put_sparse_momentum, sparse_momentum_of
from keras_sparse.initial_masks import reconcile
from keras_sparse.masked_optimizer import RANDOM_OVER_TRAINED
from keras_sparse.optimizers import SparseMomentum, check_positive
from keras_sparse.schedules import TfmotDensity
from keras_sparse.update_times import AtEpochs, EverySteps, UpdateTimes


class UpdateMasks(keras.callbacks.Callback):
    """Updates the masks of a SparseMomentum optimizer during ``fit`` and logs the density.

    Masks change before an epoch or step, never after the last one, so a checkpoint is the model whose metrics were
    measured and a resumed training is the undisturbed one. ``density`` (active / all masked weights) joins the epoch's
    logs: list this callback before CSVLogger and TensorBoard, which see only what earlier callbacks have logged.

    Args:
        every: ``"epoch"``, or a number of optimizer steps. Default: every epoch, or a tfmot schedule's own steps.
        check_agreement: for debugging on several devices or machines: calls ``check_agreement`` when an epoch begins, after
            each update and at the end.
        **settings: arguments of ``SparseMomentum`` but ``inner_optimizer``: then the callback puts it around the compiled
            optimizer by itself.

    Attributes:
        history: ``{"step": [...], path of each weight: [its density, ...]}``, one entry an epoch.

    Raises:
        ValueError: a period that is not positive; in ``fit``, no SparseMomentum and no settings, or both.

    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    >>> log = model.fit(np.ones((8, 8)), np.ones((8, 4)), epochs=2, verbose=0, callbacks=[UpdateMasks(density=0.25)])
    >>> log.history["density"]
    [0.25, 0.25]
    """

    def __init__(self, every: str | int | None = None, *, check_agreement: bool = False, **settings: Any) -> None:
        super().__init__()
        self.check_agreement = check_agreement
        self.every = every if every in (None, "epoch") else check_positive(every, "every")
        self.settings = settings
        if settings:
            SparseMomentum(keras.optimizers.SGD(momentum=0.9), **settings)  # bad settings fail here, not in `fit`
        self.history: dict[str, list[float]] = {}

    def set_model(self, model: keras.Model) -> None:
        check_keras_3(model, "model")
        super().set_model(model)
        self._optimizer = sparse_momentum_of(model) or put_sparse_momentum(model, self.settings)
        check_settings(self._optimizer, self.settings)
        self._optimizer.updates_are_planned = True
        with strategy_scope(model):
            self._optimizer.attach(model)

    # --- when

    def on_train_begin(self, logs: Any = None) -> None:
        model, optimizer = self.model, self._optimizer
        self._wait = math.inf  # batches until there is something to look at
        self._unopened_epoch: int | None = None  # begun before Keras had built the model
        running = running_callbacks()
        if running is not None and not any(isinstance(callback, _AfterTheOthers) for callback in running.callbacks):
            running.callbacks.append(_AfterTheOthers(self))
        if optimizer.initial_masks == "random" and optimizer.step() == 0 and looks_trained(model):  # else `build` says so
            warnings.warn(RANDOM_OVER_TRAINED, stacklevel=2)
        if optimizer.built:
            self._fit_masks_to_weights()
        elif model.trainable_variables:  # else Keras builds the model in its first step, and the optimizer with it
            with strategy_scope(model):
                optimizer.build(model)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        optimizer = self._optimizer
        if not optimizer.built:
            self._unopened_epoch = epoch
            return
        _ = self.model  # JAX: brings the optimizer's variables up to date
        now = optimizer.step()
        begun_before = self._open(epoch, now)
        if self._times is None and now > optimizer.counter("last_update") and not begun_before:
            self._update(now)
        self._watch(epoch, now)

    def _open(self, epoch: int, now: int) -> bool:
        """Notes that an epoch begins at this step; True if it had begun before the training was killed and resumed in its midst."""
        optimizer, open_epoch = self._optimizer, self._optimizer.counter("epoch")
        if open_epoch == 0 or epoch + 1 < open_epoch:  # no training is open, or it was interrupted and is not resumed: this one begins
            steps = self._steps_per_epoch()
            optimizer.start_training(None if steps is None else max(1, steps * (self.params["epochs"] - epoch)), begun_at=now)
            self._warn_if_no_update(epoch, now)
        elif optimizer.counter("training_stop") < 0 and epoch > 0 and now > 0:  # an epoch's length is known by now
            start = optimizer.counter("training_start")
            optimizer.set_counter("training_stop", start + (now - start) * self.params["epochs"] // epoch)
        optimizer.set_counter("epoch", epoch + 1)
        self._check_agreement()
        return open_epoch == epoch + 1

    def _watch(self, epoch: int, now: int) -> None:
        """Sets up what the batches of this epoch have to look out for."""
        is_last, batches = epoch + 1 >= self.params["epochs"], self.params.get("steps")
        self._clock: UpdateTimes = self._times or AtEpochs(now, self._steps_per_epoch(), is_last)
        self._end = now + math.ceil(batches / self._batches_per_step()) if is_last and batches else math.inf
        self._window = self._optimizer.growth_window_steps()
        if self._window in (0, math.inf):
            self._optimizer.open_growth_window(self._window > 0)
        self._wait = math.inf if self._times is None and self._window in (0, math.inf) else 0

    def _update(self, now: int) -> None:
        """Updates the masks; goes without where the growth window was closed: at the end of a training, before this one."""
        if self._optimizer.can_grow():
            self._optimizer.update_masks()
            self._check_agreement()
            return
        self._optimizer.set_counter("last_update", now)
        warnings.warn(
            "The masks are not updated at the beginning of this training: the one before ended with a closed growth window. "
            f"Train all epochs in one `fit`, or pass `growth_window=None`. Received: growth_window={self._optimizer.growth_window!r}",
            stacklevel=2,
        )

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._batch = batch
        if self._wait > 0:
            return
        model, optimizer = self.model, self._optimizer
        now = optimizer.step()
        if self._clock.last_due(now) > optimizer.counter("last_update"):
            self._update(now)
        due_in, execution = self._clock.next_due(now) - now, max(1, model.steps_per_execution)
        if now + due_in >= self._end:
            due_in = math.inf  # never after the last step
        opens_in = due_in
        if 0 < self._window < math.inf:  # an execution that ends inside the window needs it open from its start
            opens_in = due_in - self._window - execution + 1
            optimizer.open_growth_window(opens_in <= 0)
        self._wait = max(1, opens_in if opens_in > 0 else due_in) if due_in else math.inf  # 0: when the epoch ends, whenever that is

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._wait -= batch - self._batch + 1  # never fewer batches than optimizer steps
        if self._unopened_epoch is not None and self._optimizer.built:
            epoch, self._unopened_epoch = self._unopened_epoch, None
            self._open(epoch, 0)
            self._watch(epoch, 0)

    def on_train_end(self, logs: Any = None) -> None:
        if self._optimizer.built:
            _ = self.model
            self._optimizer.set_counter("epoch", 0)
            self.fit_masks_to_last_weights()
            self._check_agreement()

    def fit_masks_to_last_weights(self) -> None:
        """At the end of a training: the masks of the weights that the model has now."""
        try:
            self._fit_masks_to_weights()
        except ValueError as error:  # the training is done, and its weights are not lost for a message
            warnings.warn(str(error), stacklevel=2)

    def _check_agreement(self) -> None:
        if self.check_agreement:
            agreement.check_agreement(self._optimizer)

    @property
    def _times(self) -> UpdateTimes | None:
        """Update times by steps, or None for epochs."""
        if isinstance(self.every, int):
            return EverySteps(self.every)
        return self._optimizer.density if self.every is None and isinstance(self._optimizer.density, TfmotDensity) else None

    def _steps_per_epoch(self) -> int | None:
        steps = self.params.get("steps")
        return None if not steps else max(1, steps // self._batches_per_step())

    def _batches_per_step(self) -> int:
        return self._optimizer.inner_optimizer.gradient_accumulation_steps or 1

    def _warn_if_no_update(self, epoch: int, now: int) -> None:
        stop, last = self._optimizer.counter("training_stop"), self._optimizer.counter("last_update")
        if isinstance(self._times, TfmotDensity) and self._times.last_due(last) >= 0:
            return  # the first masks were made by the schedule already
        if self._optimizer.prune is None or self._times is None:
            never = self._optimizer.prune is not None and now <= last and self.params["epochs"] - epoch < 2
        else:
            never = stop > 0 and self._times.last_due(stop - 1) <= last
        if never:
            warnings.warn(
                "The masks will not be updated in this training: it ends before the first update is due. Update more often with "
                f"`UpdateMasks(every=...)`, or train longer. Received: every={self.every!r}, epochs={self.params['epochs']}, steps={self.params.get('steps')}",
                stacklevel=2,
            )

    def _fit_masks_to_weights(self) -> None:
        """Masks follow weights of an earlier epoch (EarlyStopping puts them back); strangers' weights raise."""
        optimizer = self._optimizer
        masks = optimizer.masks
        fitting = reconcile(list(masks), [to_float32(variable) for variable in optimizer.masked_variables], list(masks.values()))
        if any(new is not old for new, old in zip(fitting, masks.values(), strict=True)):
            optimizer.assign_masks(fitting)

    # --- what happened

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        optimizer = self._optimizer
        _ = self.model
        if logs is not None:
            logs["density"] = optimizer.total_density()
        self.history.setdefault("step", []).append(optimizer.step())
        for path, mask in optimizer.masks.items():
            self.history.setdefault(path, []).append(float(mask.mean()))


class _AfterTheOthers(keras.callbacks.Callback):
    """Puts itself last: EarlyStopping, when it ends, puts back weights of other masks, and sparse layers compute with their masks."""

    def __init__(self, update_masks: UpdateMasks) -> None:
        super().__init__()
        self._update_masks = update_masks

    def on_train_end(self, logs: Any = None) -> None:
        self._update_masks.fit_masks_to_last_weights()
