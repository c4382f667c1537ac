"""A callback that logs the mean density of each layer in each epoch."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


class DensityLog(keras.callbacks.Callback):
    """Logs the mean density over the steps of an epoch. Comes after UpdateMasks in the list.

    Args:
        optimizer: the SparseMomentum whose masks change.
        paths: of the masked weights, in the order of the log.

    Attributes:
        densities: for each epoch the mean density of each layer.
    """

    def __init__(self, optimizer: Any, paths: Sequence[str]) -> None:
        super().__init__()
        self.optimizer, self.paths = optimizer, paths
        self.densities: list[list[float]] = []
        self._now = np.zeros(len(paths))
        self._last_update: int | None = None
        self._sum = np.zeros(len(paths))  # over the steps of this epoch
        self._steps = 0  # of this epoch that are done

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._sum, self._steps, self._last_update = np.zeros(len(self.paths)), 0, None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        last_update = self.optimizer.counter("last_update")
        if last_update != self._last_update:
            self._last_update = last_update
            masks = self.optimizer.masks
            self._now = np.array([masks[path].mean() for path in self.paths])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._sum += (batch + 1 - self._steps) * self._now
        self._steps = batch + 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.densities.append([round(float(value), 6) for value in self._sum / self._steps])
