"""A small training that backs itself up and is killed at a given moment.

`resume.py` imports this file, with it TensorFlow, and forks before the first operation: a process
that is to be killed costs half a second of computing. Into its folder the training writes states,
as ``.npz`` files of all weights and optimizer variables and the epoch that begins next:
``restored`` (after ``on_train_begin``), ``begun`` (after the first ``on_epoch_begin``), ``writing``
(what is being backed up), ``backup`` (what was backed up last), ``final``.
"""

import dataclasses
import inspect
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_sparse as ks

EPOCHS, STEPS, BATCH = 6, 2, 8
BATCHES = 3  # between backups that are not made every epoch
FEATURES, CLASSES = 16, 10


@dataclasses.dataclass(frozen=True)
class Setting:
    """How the training is backed up."""

    callback: str  # of "keras_sparse" or "keras"
    save_freq: str | int
    double: bool
    masks: str  # UpdateMasks listed "before" or "after" it


@dataclasses.dataclass(frozen=True)
class Kill:
    """When the process ends: at most one of the three moments."""

    seconds: float = 0  # after `fit` has begun; 0: never
    line: int = -1  # before this one of the lines that back up, counted over all backups
    backup: int = -1  # number of the backup, 0, 1, ...: the kill comes in it ...
    into: float = 0  # ... seconds after it begins


def train(setting: Setting, folder: Path, kill: Kill | None = None) -> None:
    """Trains from the beginning, or from the backup there is."""
    warnings.filterwarnings("error", "Resumed from|No backup is whole")  # no file of ours is broken
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(0)
    features = rng.standard_normal((STEPS * BATCH, FEATURES), dtype=np.float32)
    labels = rng.integers(0, CLASSES, STEPS * BATCH)
    callbacks = [backup_callback(setting, folder, kill or Kill())]
    callbacks.insert(0 if setting.masks == "before" else 1, ks.UpdateMasks())
    model = build_model()
    if kill and kill.seconds:
        end_after(kill.seconds)
    model.fit(features, labels, BATCH, EPOCHS, 0, [*callbacks, Recorder(folder)], shuffle=False)


def build_model() -> keras.Model:
    """A small sparse network: masks, momenta, counters."""
    hidden = keras.layers.Dense(64, activation="relu")
    model = keras.Sequential([keras.Input((FEATURES,)), hidden, keras.layers.Dense(CLASSES)])
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    # Eagerly: these few steps take less time than to trace one.
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(ks.SparseMomentum(sgd, density=0.2), loss, run_eagerly=True)
    return model


class Recorder(keras.callbacks.Callback):
    """Writes the states. To be listed after all callbacks that change or save something."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.begun = folder, False

    def on_train_begin(self, logs: Any = None) -> None:
        write_state(self.folder / "restored.npz", self.model, self.model._initial_epoch or 0)
        write_state(self.folder / "backup.npz", self.model, self.model._initial_epoch or 0)
        (self.folder / "writing.npz").unlink(missing_ok=True)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not self.begun:
            write_state(self.folder / "begun.npz", self.model, epoch)
        self.begun = True

    def on_train_end(self, logs: Any = None) -> None:
        write_state(self.folder / "final.npz", self.model, EPOCHS)


def write_state(path: Path, model: keras.Model, epoch: int) -> None:
    """All variables, and the epoch; whole or not at all."""
    variables = [*model.variables, *model.optimizer.variables]
    arrays = {f"{i:03d} {v.path}".replace("/", "."): v.numpy() for i, v in enumerate(variables)}
    with open(path.with_suffix(".new"), "wb") as file:
        np.savez(file, epoch=epoch, **arrays)
    os.replace(path.with_suffix(".new"), path)


def backup_callback(setting: Setting, folder: Path, kill: Kill) -> keras.callbacks.Callback:
    """The callback that backs up, with the kills that hit it while it writes."""
    module = ks if setting.callback == "keras_sparse" else keras.callbacks
    lines = Lines(kill.line, module.BackupAndRestore)

    class Killed(module.BackupAndRestore):  # type: ignore[name-defined,misc]
        saved = 0

        def _save_model(self) -> None:
            write_state(folder / "writing.npz", self.model, self._current_epoch)
            if self.saved == kill.backup:
                end_after(kill.into)
            begin = time.perf_counter()
            with lines.counted():
                super()._save_model()
            (folder / "seconds").write_text(str(time.perf_counter() - begin))
            if self.saved == kill.backup:
                signal.setitimer(signal.ITIMER_REAL, 0)
            os.replace(folder / "writing.npz", folder / "backup.npz")
            self.saved += 1

    return Killed(str(folder / "backup"), setting.save_freq, setting.double)


def end_after(seconds: float) -> None:
    """SIGALRM ends the process at once by default, as SIGKILL does, and to the microsecond."""
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))


class Lines:
    """Counts the lines of a class's file and kills the process before one of them."""

    def __init__(self, line: int, source: type) -> None:
        self.left, self.file = line, inspect.getsourcefile(source)

    @contextmanager
    def counted(self) -> Iterator[None]:
        if self.left >= 0:
            sys.settrace(self._trace)
        yield
        sys.settrace(None)

    def _trace(self, frame: Any, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename != self.file:
            return None
        if event == "line":
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
        return self._trace
