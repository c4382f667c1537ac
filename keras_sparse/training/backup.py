"""Backs up and resumes a training; a kill at any moment leaves a whole backup."""

import errno
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_sparse._keras import to_numpy

STAMP = "training_metadata"  # attribute of a weight file
RANDOM_STATES = "random_states"  # likewise
BROKEN = (OSError, RuntimeError, KeyError, ValueError)  # h5py raises them on a part of a file


class BackupAndRestore(keras.callbacks.BackupAndRestore):
    """Keras' BackupAndRestore, with its arguments and files, safe from a kill while it writes.

    Each file is written under a temporary name, flushed to the disk, and renamed. The weight file
    also holds epoch and batch, so that one rename replaces weights and epoch together, and the
    states of the layers' random generators, so that Dropout goes on where it was. When ``fit``
    begins, it resumes from the newest whole backup and warns where a newer file is broken. It reads
    folders of ``keras.callbacks.BackupAndRestore``, which can read its folders, too.

    Args:
        backup_dir: a local folder that holds nothing else; made if missing.
        save_freq: ``"epoch"``, or a number of batches. A training resumed within an epoch begins
            that epoch again, from the weights it had reached, as in Keras.
        double_checkpoint: keep the backup before the last one as well.
        delete_checkpoint: delete ``backup_dir`` when the training has ended.

    Raises:
        ValueError: ``backup_dir`` is empty or a URL; ``save_freq`` is neither; in ``fit``, a model
            that is not built, or the backup of another model.

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
        if "://" in str(backup_dir):
            raise ValueError(
                "`backup_dir` must be a local folder, where a file is replaced in one step. "
                "Use keras.callbacks.BackupAndRestore for remote storage. "
                f"Received: backup_dir={backup_dir}"
            )
        super().__init__(backup_dir, save_freq, double_checkpoint, delete_checkpoint)
        latest = self._weights_path, self._training_metadata_path
        previous = self._prev_weights_path, self._prev_training_metadata_path
        self._pairs = latest, previous

    # --- resume

    def on_train_begin(self, logs: Any = None) -> None:
        """Puts the newest whole backup where Keras reads it, and lets Keras resume from it."""
        if not any(os.path.exists(path) for pair in self._pairs for path in pair):
            super().on_train_begin(logs)
            return
        flaws: list[str] = []
        for weights, metadata in self._pairs:
            progress = _progress(weights, metadata, flaws)
            if progress is not None:
                self._make_latest(weights, progress)
                super().on_train_begin(logs)
                _load_random_states(self.model, self._weights_path)
                _warn(f"Resumed from {weights} at epoch {progress['epoch']}", flaws)
                return
        for weights, metadata in self._pairs:
            if os.path.exists(weights) and _flaw(weights) is None:
                epoch = self._resume_weights(weights, metadata)
                _warn(f"Resumed from {weights} at epoch {epoch}, counted in its steps", flaws)
                return
        _warn("No backup is whole, so the training begins anew", flaws)

    def _make_latest(self, weights: str, progress: dict[str, int]) -> None:
        if weights != self._weights_path:
            shutil.copyfile(weights, _temporary(self._weights_path))
            self._commit(progress)
        elif _read(self._training_metadata_path) != progress:
            self._write_metadata(progress)

    def _resume_weights(self, weights: str, metadata: str) -> int:
        """Resumes from whole weights of unknown epoch, as a kill of Keras' callback leaves them."""
        epoch = (_read(metadata) or {"epoch": 0})["epoch"]
        if weights != self._weights_path:
            shutil.copyfile(weights, _temporary(self._weights_path))
            _replace(self._weights_path)
        Path(self._training_metadata_path).unlink(missing_ok=True)
        optimizer = self.model.optimizer
        while hasattr(optimizer, "inner_optimizer"):
            optimizer = optimizer.inner_optimizer
        before = 0 if optimizer is None else int(to_numpy(optimizer.iterations))
        super().on_train_begin()
        _load_random_states(self.model, self._weights_path)
        if optimizer is not None and self.params.get("steps"):
            batches = int(to_numpy(optimizer.iterations)) - before
            batches *= optimizer.gradient_accumulation_steps or 1
            epoch = batches // self.params["steps"]
        self.model._initial_epoch = epoch
        return epoch

    # --- back up

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch; Keras would back up epoch 0 within the first epoch after a resume."""
        self._current_epoch = epoch

    def _save_model(self) -> None:
        if not os.path.exists(self.backup_dir):
            os.makedirs(self.backup_dir)
            _flush_folder(os.path.dirname(os.path.abspath(self.backup_dir)))
        if self.double_checkpoint:
            for path, copy in zip(*self._pairs, strict=True):
                if os.path.exists(path):
                    shutil.copyfile(path, _temporary(copy))
                    _replace(copy)
        self.model.save_weights(_temporary(self._weights_path))
        with h5py.File(_temporary(self._weights_path), "r+") as file:
            file.attrs[RANDOM_STATES] = [to_numpy(state) for state in _random_states(self.model)]
        self._commit({"epoch": self._current_epoch, "batch": self._last_batch_seen})

    def _commit(self, progress: dict[str, int]) -> None:
        """Weights and epoch become the latest backup by one rename; the JSON file is a copy."""
        with h5py.File(_temporary(self._weights_path), "r+") as file:
            file.attrs[STAMP] = json.dumps(progress)
        _replace(self._weights_path)
        self._write_metadata(progress)

    def _write_metadata(self, progress: dict[str, int]) -> None:
        with open(_temporary(self._training_metadata_path), "w", encoding="utf-8") as file:
            json.dump(progress, file)
        _replace(self._training_metadata_path)

    def on_train_end(self, logs: Any = None) -> None:
        """Deletes the older backup first: what a kill leaves is the newest one or none."""
        self.model._initial_epoch = None  # Keras keeps it, and a further `fit` would skip epochs
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
            f"The backup must be of a model with as many random generators. Received: {len(saved)} in {weights}, {len(states)} in the model"
        )


def _progress(weights: str, metadata: str, flaws: list[str]) -> dict[str, int] | None:
    """Epoch and batch of a whole backup, else None; adds what is wrong to ``flaws``."""
    flaw = _flaw(weights)
    if flaw is not None:
        flaws.append(flaw)
        return None
    with h5py.File(weights) as file:
        stamp = file.attrs.get(STAMP)
    written = _read(metadata)
    if written is None and (stamp is None or os.path.exists(metadata)):
        flaws.append(f"{metadata} is not whole")
    if stamp is not None:
        return dict(json.loads(stamp))
    if written is not None and os.stat(metadata).st_mtime_ns < os.stat(weights).st_mtime_ns:
        flaws.append(f"{metadata} is older than {weights}")  # Keras writes it after the weights
        return None
    return written


def _flaw(weights: str) -> str | None:
    """Why this weight file is not whole, or None; reads all of it."""

    def read(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            item[()]

    if not os.path.exists(weights):
        return f"{weights} is missing"
    try:
        with h5py.File(weights) as file:
            file.visititems(read)
    except (PermissionError, BlockingIOError):
        raise  # it may be whole
    except BROKEN as error:
        return f"{weights} is not whole ({error})"
    return None


def _read(metadata: str) -> dict[str, int] | None:
    """Epoch and batch, or None where the file is missing or broken."""
    try:
        with open(metadata, encoding="utf-8") as file:
            written = json.load(file)
        return {"epoch": int(written["epoch"]), "batch": int(written.get("batch", 0))}
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _warn(what: str, flaws: list[str]) -> None:
    if flaws:
        warnings.warn(f"{what}: {'; '.join(flaws)}.", stacklevel=3)


def _temporary(path: str) -> str:
    """Where a file is written before it gets its name; Keras wants the ending of weight files."""
    return os.path.join(os.path.dirname(path), f"new.{os.path.basename(path)}")


def _replace(path: str) -> None:
    """The temporary file, flushed to the disk, replaces this one in one step."""
    with open(_temporary(path), "r+b") as file:
        os.fsync(file.fileno())
    os.replace(_temporary(path), path)
    _flush_folder(os.path.dirname(path))


def _flush_folder(folder: str) -> None:
    """Makes renames last, where the system can flush a folder: not on Windows."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot either
            raise
    finally:
        os.close(descriptor)
