"""Keras' BackupAndRestore with public names for what a subclass needs."""

import abc
from typing import Any

import keras


class KerasBackup(keras.callbacks.BackupAndRestore, abc.ABC):
    """Keras' callback, whose backups are written by ``write_backup``. Arguments as for Keras'."""

    @property
    def latest(self) -> tuple[str, str]:
        """The weight file and the metadata file of the latest backup."""
        return self._weights_path, self._training_metadata_path

    @property
    def previous(self) -> tuple[str, str]:
        """Those of the backup before."""
        return self._prev_weights_path, self._prev_training_metadata_path

    @property
    def progress(self) -> dict[str, int]:
        """The epoch that would be resumed, and the last batch seen in it."""
        return {"epoch": self._current_epoch, "batch": self._last_batch_seen}

    def begin_epoch(self, epoch: int) -> None:
        self._current_epoch = epoch

    def begin_fit_at(self, epoch: int | None) -> None:
        """The epoch at which ``fit`` goes on; None: at its own ``initial_epoch``."""
        model: Any = self.model
        model._initial_epoch = epoch

    @abc.abstractmethod
    def write_backup(self) -> None:
        """Writes the backup."""

    def _save_model(self) -> None:
        self.write_backup()
