"""Backs up and resumes a training; a kill at any moment leaves a complete backup."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py

from keras_sparse._keras import KerasBackup, to_numpy
from keras_sparse.rules.flags import check_flags
from keras_sparse.rules.paths import as_path, check_writable
from keras_sparse.training.backup_files import (
    STAMP,
    find_flaw,
    flush_folder,
    read_metadata,
    read_progress,
    replace_by_temporary,
    temporary,
    warn_of_flaws,
)

RANDOM_STATES = "random_states"  # attribute of a weight file


class BackupAndRestore(KerasBackup):
    """Keras' BackupAndRestore, with its arguments and files, safe from a kill while it writes.

    Each file is written under a temporary name, flushed to the disk, and renamed. The weight file
    also holds epoch and batch, so that one rename replaces weights and epoch together. It holds the
    states of the layers' random generators, so that Dropout continues where it was. ``fit`` resumes
    from the newest complete backup and warns if a newer file is broken. The callback and
    ``keras.callbacks.BackupAndRestore`` read each other's folders.

    Args:
        backup_dir: a local folder that holds nothing else; created if missing.
        save_freq: ``"epoch"``, or a number of batches. A training resumed within an epoch begins
            that epoch again, from the weights it had reached, as in Keras.
        double_checkpoint: True: also keeps the backup before the last one.
        delete_checkpoint: True: deletes ``backup_dir`` when the training has ended.

    Raises:
        ValueError: ``backup_dir`` is empty or a URL; ``save_freq`` is neither; in ``fit``, the
            model is not built, or the backup belongs to another model.

    >>> import numpy as np, tempfile
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    >>> callbacks = [ks.UpdateMasks(density=0.25), ks.BackupAndRestore(tempfile.mkdtemp())]
    >>> log = model.fit(np.ones((8, 8)), np.ones((8, 4)), epochs=2, verbose=0, callbacks=callbacks)
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        as_path(backup_dir, "backup_dir")
        check_flags(double_checkpoint=double_checkpoint, delete_checkpoint=delete_checkpoint)
        if "://" in str(backup_dir):
            raise ValueError(
                "`backup_dir` must be a local folder, where a file is replaced in one step. "
                "Use keras.callbacks.BackupAndRestore for remote storage. "
                f"Received: backup_dir={backup_dir}"
            )
        super().__init__(backup_dir, save_freq, double_checkpoint, delete_checkpoint)
        self._pairs = self.latest, self.previous

    # --- resume

    def on_train_begin(self, logs: Any = None) -> None:
        """Puts the newest whole backup where Keras reads it, and lets Keras resume from it."""
        check_writable(Path(self.latest[0]))  # not only after an epoch
        if not any(os.path.exists(path) for pair in self._pairs for path in pair):
            super().on_train_begin(logs)
            return
        flaws: list[str] = []
        for weights, metadata in self._pairs:
            progress = read_progress(weights, metadata, flaws)
            if progress is not None:
                self._make_latest(weights, progress)
                super().on_train_begin(logs)
                _load_random_states(self.model, self.latest[0])
                warn_of_flaws(f"Resumed from {weights} at epoch {progress['epoch']}", flaws)
                return
        for weights, metadata in self._pairs:
            if find_flaw(weights) is None:
                epoch = self._resume_weights(weights, metadata)
                warn_of_flaws(
                    f"Resumed from {weights} at epoch {epoch}, counted in its steps", flaws
                )
                return
        warn_of_flaws("No backup is whole, so the training begins anew", flaws)

    def _make_latest(self, weights: str, progress: dict[str, int]) -> None:
        if weights != self.latest[0]:
            shutil.copyfile(weights, temporary(self.latest[0]))
            self._commit(progress)
        elif read_metadata(self.latest[1]) != progress:
            self._write_metadata(progress)

    def _resume_weights(self, weights: str, metadata: str) -> int:
        """Resumes from whole weights of unknown epoch, as a kill of Keras' callback leaves them."""
        epoch = (read_metadata(metadata) or {"epoch": 0})["epoch"]
        if weights != self.latest[0]:
            shutil.copyfile(weights, temporary(self.latest[0]))
            replace_by_temporary(self.latest[0])
        Path(self.latest[1]).unlink(missing_ok=True)
        optimizer = self.model.optimizer
        while hasattr(optimizer, "inner_optimizer"):
            optimizer = optimizer.inner_optimizer
        before = optimizer and int(to_numpy(optimizer.iterations))
        super().on_train_begin()
        if optimizer is not None and self.params.get("steps"):
            batches = int(to_numpy(optimizer.iterations)) - before
            batches *= optimizer.gradient_accumulation_steps or 1
            epoch = batches // self.params["steps"]
        self.begin_fit_at(epoch)
        return epoch

    # --- back up

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch; Keras would back up epoch 0 within the first epoch after a resume."""
        self.begin_epoch(epoch)

    def write_backup(self) -> None:
        if not os.path.exists(self.backup_dir):
            os.makedirs(self.backup_dir)
            flush_folder(os.path.dirname(os.path.abspath(self.backup_dir)))
        if self.double_checkpoint:
            for path, copy in zip(*self._pairs, strict=True):
                if os.path.exists(path):
                    shutil.copyfile(path, temporary(copy))
                    replace_by_temporary(copy)
        self.model.save_weights(temporary(self.latest[0]))
        with h5py.File(temporary(self.latest[0]), "r+") as file:
            file.attrs[RANDOM_STATES] = [to_numpy(state) for state in _random_states(self.model)]
        self._commit(self.progress)

    def _commit(self, progress: dict[str, int]) -> None:
        """Weights and epoch become the latest backup by one rename; the JSON file is a copy."""
        with h5py.File(temporary(self.latest[0]), "r+") as file:
            file.attrs[STAMP] = json.dumps(progress)
        replace_by_temporary(self.latest[0])
        self._write_metadata(progress)

    def _write_metadata(self, progress: dict[str, int]) -> None:
        with open(temporary(self.latest[1]), "w", encoding="utf-8") as file:
            json.dump(progress, file)
        replace_by_temporary(self.latest[1])

    def on_train_end(self, logs: Any = None) -> None:
        """Deletes the older backup first: what a kill leaves is the newest one or none."""
        self.begin_fit_at(None)  # Keras keeps it, and a further `fit` would skip epochs
        if self.delete_checkpoint:
            for path in (path for pair in reversed(self._pairs) for path in pair):
                Path(path).unlink(missing_ok=True)
        super().on_train_end(logs)


def _random_states(model: Any) -> list[Any]:
    """The state of each random generator in the layers, a variable of two integers."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _load_random_states(model: Any, weights: str) -> None:
    """Puts back the states in this weight file; Keras' own and earlier files have none."""
    with h5py.File(weights) as file:
        saved = file.attrs.get(RANDOM_STATES, [])
    states = _random_states(model)
    if len(saved) in (0, len(states)):
        for state, value in zip(states, saved, strict=False):
            state.assign(value)
    else:
        raise ValueError(
            "The backup must be that of a model with the same number of random generators. "
            f"Received: {len(saved)} in {weights}, {len(states)} in the model"
        )
