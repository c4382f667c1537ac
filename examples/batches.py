"""Shuffled training batches, moved and mirrored, that depend on seed and epoch alone (NumPy)."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

MARGIN = 4  # pixels by which images are moved at most


class Batches(keras.utils.PyDataset):
    """Batches of images (batch, height, width, channels) and labels (batch,), all of the same size.

    Each epoch shuffles the images. Each image is moved by up to four pixels, and reflections fill
    the margin; about half of the images are mirrored. Everything follows from the seed, the epoch
    and the position in the epoch. With the callback ``follow()`` and ``fit(..., shuffle=False)`` a
    resumed training sees what it would have seen; else Keras shuffles the batches once more. Give
    `fit` the ``dataset()``, whose epochs end without a wait.

    Args:
        images: (n, height, width, channels).
        labels: (n,).
        batch: images in a batch.
        seed: of order, moves and mirrors.
        augment: move and mirror the images.
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, batch: int, seed: int, augment: bool = True
    ) -> None:
        super().__init__()
        if not 1 <= batch <= len(labels):
            raise ValueError(f"`batch` must be in 1 to {len(labels)}. Received: batch={batch}")
        self.images, self.labels, self.batch = images, labels, batch
        self.seed, self.augment = seed, augment
        self.next_epoch = 0
        self._shuffle()

    def __len__(self) -> int:
        return len(self.labels) // self.batch

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch : (index + 1) * self.batch]
        images = self._moved(chosen, index) if self.augment else self.images[chosen]
        return images, self.labels[chosen]

    def on_epoch_begin(self) -> None:
        self._shuffle()
        self.next_epoch += 1

    def dataset(self) -> Any:
        """The batches as a tf.data.Dataset of one epoch, read two batches ahead in another thread.

        tf.data does not tune it. Where it does, as for a PyDataset of one worker, the end of an
        epoch may wait for the tuning thread while no core works (TensorFlow 2.21).
        """
        import tensorflow as tf

        def epoch() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            self.on_epoch_begin()
            yield from (self[i] for i in range(len(self)))

        arrays = (self.images, self.labels)
        kinds = tuple(tf.TensorSpec((self.batch, *a.shape[1:]), a.dtype) for a in arrays)
        batches = tf.data.Dataset.from_generator(epoch, output_signature=kinds)
        options = tf.data.Options()
        options.autotune.enabled = False
        batches = batches.apply(tf.data.experimental.assert_cardinality(len(self)))
        return batches.prefetch(2).with_options(options)

    def follow(self) -> keras.callbacks.Callback:
        """A callback that lets the batches be those of the epoch in which `fit` is."""

        def begin(epoch: int, logs: Any = None) -> None:
            self.next_epoch = epoch

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin)

    def _shuffle(self) -> None:
        self.epoch = self.next_epoch
        rng = np.random.default_rng((self.seed, self.epoch))
        self.order = rng.permutation(len(self.labels))

    def _moved(self, chosen: np.ndarray, index: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        top, left = rng.integers(-MARGIN, MARGIN + 1, (2, len(chosen), 1))
        mirrored = rng.integers(0, 2, (len(chosen), 1), dtype=bool)
        height, width, channels = self.images.shape[1:]
        rows = _reflected(top + np.arange(height), height)
        columns = np.arange(width)
        columns = _reflected(left + np.where(mirrored, columns[::-1], columns), width)
        pixels = (chosen[:, None] * height + rows)[:, :, None] * width + columns[:, None, :]
        return self.images.reshape(-1, channels).take(pixels, axis=0)


def _reflected(positions: np.ndarray, size: int) -> np.ndarray:
    """Positions before the first pixel and after the last, reflected at these two.

    >>> _reflected(np.array([-2, -1, 0, 3, 4]), 4)
    array([2, 1, 0, 3, 2])
    """
    positions = np.abs(positions)
    return np.minimum(positions, 2 * (size - 1) - positions)
