"""The UpdateMasks callback: masks change in ``fit``, and the density is logged."""

import contextlib
import warnings
from collections.abc import Sequence
from typing import Any, Unpack

import keras

from keras_sparse._keras import check_keras_3
from keras_sparse.conversion.progress import progress
from keras_sparse.rules.flags import check_flags
from keras_sparse.training import agreement
from keras_sparse.training.before_first_step import prepare
from keras_sparse.training.callback_order import check_no_other_has, surround_other_callbacks
from keras_sparse.training.density_log import DensityLog
from keras_sparse.training.epoch_plan import check_every
from keras_sparse.training.find_optimizer import compiled_sparse_momenta
from keras_sparse.training.mask_training import MaskTraining
from keras_sparse.training.retrace import Retracing
from keras_sparse.training.settings import AllSettings, check_has_density, check_names
from keras_sparse.training.sparse_momentum import SparseMomentum
from keras_sparse.training.update_watch import NO_STEP, has_own_train_step
from keras_sparse.training.updated_optimizers import given_optimizers, updated_optimizers


class UpdateMasks(keras.callbacks.Callback):
    """Updates the masks of SparseMomentum optimizers during ``fit`` and logs the density.

    Masks change before an epoch or step, never after the last one. So a checkpoint is the model
    whose metrics were measured, and a resumed training continues as an uninterrupted one. If no
    update is due after a density schedule ends, the masks are pruned to the final density before
    the last steps. If that is impossible, a warning follows before and after the training.

    ``density`` (active / all masked weights) and ``exploration_rate`` (weights ever active / all
    masked weights) join the logs of each epoch, for all callbacks in any order; with a budget in
    multiply-adds, ``multiply_adds_density`` does, too. If a metric has such a name, they are
    ``mask_density``, ...

    Args:
        every: ``"epoch"``: before each epoch but the first, the published method; or a number of
            optimizer steps; or ``"auto"``: the steps of a tfmot schedule, or the first of each
            phase of AC/DC; otherwise before each epoch but the first. A first training of fewer
            than ten epochs gets nine updates, at equal distances of at least five steps. None is
            ``"auto"``.
        optimizer: the SparseMomentum optimizer, or a list of them, of a model that is not compiled
            with it (a GAN's two). Default: the one that the model is compiled with, or those in its
            attributes.
        log_layers: True: also logs the density of each masked weight, as
            ``density/<path of the weight>``.
        check_agreement: True: calls ``check_agreement`` when an epoch begins, after each update and
            at the end, to find errors on several devices or machines.
        **settings: arguments of ``SparseMomentum`` except ``inner_optimizer``: the callback wraps
            the compiled optimizer.

    Attributes:
        history: ``{"step": [...], path of each weight: [its density, ...], "exploration_rate":
            [...]}``, one entry per epoch. As in Keras' History, further trainings of the model
            append to it; another model begins a new history.

    Raises:
        ValueError: ``every`` is not positive; in ``fit``, there is no SparseMomentum and no
            settings, or there are both, or another UpdateMasks has the same optimizer.

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    >>> callback = UpdateMasks("epoch", density=0.25)
    >>> log = model.fit(np.ones((8, 8)), np.ones((8, 4)), epochs=2, verbose=0, callbacks=[callback])
    >>> log.history["density"]
    [0.25, 0.25]
    """

    def __init__(
        self,
        every: str | int | None = "auto",
        *,
        optimizer: SparseMomentum | Sequence[SparseMomentum] | None = None,
        log_layers: bool = False,
        check_agreement: bool = False,
        **settings: Unpack[AllSettings],
    ) -> None:
        super().__init__()
        own = ("every", "optimizer", "log_layers", "check_agreement")
        check_names("UpdateMasks", settings, AllSettings, own)
        check_flags(log_layers=log_layers, check_agreement=check_agreement)
        self.every = check_every(every)
        self.log_layers = log_layers
        self.check_agreement = check_agreement
        self.settings = settings
        self._log = DensityLog(log_layers)
        self._given = given_optimizers(optimizer, settings)
        self._trainings: list[MaskTraining] = []
        self._retracing = Retracing([])
        if settings:  # bad settings fail here, not in `fit`
            check_has_density(settings)
            SparseMomentum(keras.optimizers.SGD(momentum=0.9), **settings)

    @property
    def history(self) -> dict[str, list[float]]:
        return self._log.history

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"UpdateMasks(every={self.every!r}{settings})"

    def set_model(self, model: keras.Model) -> None:
        check_keras_3(model, "model")
        super().set_model(model)
        optimizers = updated_optimizers(model, self._given, self.settings)
        compiled = compiled_sparse_momenta(model)
        self._trainings = [
            MaskTraining(optimizer, self.every, optimizer in compiled, self._check_agreement)
            for optimizer in optimizers
        ]

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        check_no_other_has(self, UpdateMasks, self._optimizers())
        self._log.begin(model)
        names = "+".join(training.optimizer.name for training in self._trainings)
        several = surround_other_callbacks(
            self, UpdateMasks, self.log, self.end_after_other_callbacks
        )
        self._log.suffix = f"/{names}" if several else ""
        self._retracing = Retracing(self._optimizers())
        for training in self._trainings:
            training.begin(self.params, model.steps_per_execution)
        with self._progress("first masks"):
            prepare(model, self._optimizers(), bool(compiled_sparse_momenta(model)))

    def _progress(self, what: str) -> contextlib.AbstractContextManager[object]:
        """Shows what takes long, but not in ``fit(verbose=0)``."""
        return progress(what, (self.params or {}).get("verbose", True))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        _ = self.model  # JAX: brings the optimizer's variables up to date
        with self._progress("mask update"):
            for training in self._trainings:
                training.begin_epoch(epoch)
        self._retracing.look(self._model)

    # No `on_train_batch_end`: for it, Keras on JAX would wait for the loss of each batch. What
    # happened in a batch is accounted for when the next one begins.
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        for training in self._trainings:
            training.end_last_batch(batch)
        if not any(training.has_to_look(batch) for training in self._trainings):
            for training in self._trainings:
                training.begin_batch(batch)
            return
        _ = self.model  # JAX
        with self._progress("mask update"):
            for training in self._trainings:
                training.begin_batch(batch)

    def on_train_end(self, logs: Any = None) -> None:
        _ = self.model
        for training in self._trainings:
            training.end()
            if training.made_no_step() and has_own_train_step(self.model):
                warnings.warn(NO_STEP.format(name=training.optimizer.name), stacklevel=2)
        self._check_agreement()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.log(epoch, logs)
        self._log.end_epoch()

    def log(self, epoch: int, logs: Any) -> None:
        """Adds the density to the logs of an epoch, once."""
        for training in self._trainings:
            training.end_last_batch()
        optimizers = self._optimizers()
        if all(optimizer.built for optimizer in optimizers) and not self._log.is_logged(epoch):
            _ = self.model  # JAX
            self._log.log(epoch, logs, optimizers)

    def _optimizers(self) -> list[SparseMomentum]:
        return [training.optimizer for training in self._trainings]

    def _check_agreement(self) -> None:
        for training in self._trainings:
            if self.check_agreement and training.optimizer.built:
                agreement.check_agreement(training.optimizer)

    def end_after_other_callbacks(self) -> None:
        """Gives the masks the weights that others have put back: EarlyStopping does, at its end."""
        for training in self._trainings:
            training.end_after_other_callbacks()
