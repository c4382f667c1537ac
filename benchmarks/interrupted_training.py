"""What is the state of a small training at each point that matters to a resumed one?  The process that resume.py kills.

Into its folder it writes, as ``.npz`` files of all weights and optimizer variables: ``backup`` (when Keras last backed it
up), ``restored`` (after ``on_train_begin``), ``begun`` (after the first ``on_epoch_begin``) and ``final``.
"""

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import report  # noqa: F401  # puts the repository on the path
import tensorflow as tf

import keras_sparse as ks

EPOCHS, STEPS, BATCH = 6, 20, 32
FEATURES, CLASSES = 16, 10


class Recorder(keras.callbacks.Callback):
    """Writes the states. To be listed after all callbacks that change or save something.

    Args:
        folder: where to.
        backup: the folder of BackupAndRestore.
    """

    def __init__(self, folder: Path, backup: Path) -> None:
        super().__init__()
        self.folder, self.file = folder, backup / "latest.weights.h5"
        self.seen = self._changed()
        self.begun = False

    def on_train_begin(self, logs: Any = None) -> None:
        self._write("restored")

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if not self.begun:
            self.begun = True
            self._write("begun")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._note_backup()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._note_backup()

    def on_train_end(self, logs: Any = None) -> None:
        self._write("final")

    def _note_backup(self) -> None:
        if self._changed() != self.seen:
            self.seen = self._changed()
            self._write("backup")

    def _changed(self) -> int:
        return self.file.stat().st_mtime_ns if self.file.exists() else 0

    def _write(self, name: str) -> None:
        variables = [*self.model.variables, *self.model.optimizer.variables]
        np.savez(self.folder / f"{name}.npz", **{f"{i:03d} {v.path}".replace("/", "."): v.numpy() for i, v in enumerate(variables)})


class Kill(keras.callbacks.Callback):
    """Ends the process without a word at the end of an optimizer step of this number.

    Args:
        step: 1, 2, ...; 0: never.
    """

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.step and int(self.model.optimizer.iterations) == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def build_model() -> keras.Model:
    """A small sparse network with state of every kind: a schedule, momenta, moving averages."""
    layers = keras.layers
    hidden = [layers.Dense(64, use_bias=False), layers.BatchNormalization(), layers.ReLU(), layers.Dense(32, activation="relu")]
    model = keras.Sequential([keras.Input((FEATURES,)), *hidden, layers.Dense(CLASSES)])
    rate = keras.optimizers.schedules.CosineDecay(0.1, EPOCHS * STEPS)
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(rate, momentum=0.9, nesterov=True), density=0.2)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def main() -> None:
    """Trains from the beginning, or from the backup there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--save-freq", required=True, help='"epoch" or a number of batches')
    parser.add_argument("--masks", choices=("before", "after"), required=True, help="where UpdateMasks is listed")
    parser.add_argument("--kill-at", type=int, default=0, help="optimizer step")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)
    tf.config.experimental.enable_op_determinism()
    rng = np.random.default_rng(0)
    features = rng.standard_normal((STEPS * BATCH, FEATURES), dtype=np.float32)
    labels = rng.integers(0, CLASSES, STEPS * BATCH)
    backup = arguments.folder / "backup"
    save_freq = "epoch" if arguments.save_freq == "epoch" else int(arguments.save_freq)
    callbacks = [keras.callbacks.BackupAndRestore(str(backup), save_freq)]
    callbacks.insert(0 if arguments.masks == "before" else 1, ks.UpdateMasks())
    callbacks += [Recorder(arguments.folder, backup), Kill(arguments.kill_at)]
    build_model().fit(features, labels, BATCH, EPOCHS, verbose=0, callbacks=callbacks, shuffle=False)


if __name__ == "__main__":
    main()
