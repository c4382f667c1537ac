"""Times epochs of training and of testing inside `fit`, on random images."""

import time
from typing import Any

import keras
import numpy as np

SHAPE, CLASSES = (32, 32, 3), 10  # of CIFAR-10


class EpochTimes(keras.callbacks.Callback):
    """Seconds of the last epoch.

    Args:
        steps: of an epoch.

    Attributes:
        training: seconds of its training steps, mask updates included.
        test: seconds of its test.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.training, self.test = steps, 0.0, 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch + 1 == self.steps:
            float(logs["loss"])  # waits for the device
            self.training = time.perf_counter() - self.begin

    def on_test_begin(self, logs: Any = None) -> None:
        self.begin_test = time.perf_counter()

    def on_test_end(self, logs: Any = None) -> None:
        self.test = time.perf_counter() - self.begin_test


def noise(batch: int, steps: int, tests: int) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
    """Batches to train with, and (images, labels) to test with."""
    from examples.batches import Batches

    rng = np.random.default_rng(0)
    parts = []
    for count in (steps * batch, tests * batch):
        images = rng.standard_normal((count, *SHAPE), dtype=np.float32)
        parts.append((images, rng.integers(0, CLASSES, count).astype("int32")))
    return Batches(*parts[0], batch, seed=0), parts[1]
