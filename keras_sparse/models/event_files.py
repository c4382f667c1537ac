"""Numbers, histograms and pictures in the files that TensorBoard reads, on every backend."""

import contextlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_sparse._keras import host_scope

BUCKETS = 30  # of a histogram, as tf.summary has them


def check_tensorboard(caller: str) -> None:
    """Raises ImportError if TensorBoard is not installed; TensorFlow 2.21 does not bring it."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(
            f"`{caller}` needs tensorboard: pip install tensorboard, or pip install "
            "'.[tensorboard]' in the folder of keras_sparse"
        )


class EventFiles:
    """Writes a run: a folder to which each opening adds a file.

    Args:
        folder: of the run, or an address that TensorFlow can write to. The file is made when
            something is written.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._writer: Any = None

    @contextlib.contextmanager
    def at(self, step: int) -> Iterator["EventFiles"]:
        """What its body writes is of this step, and is in the file afterwards."""
        import tensorflow as tf

        with host_scope():
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(self._folder)
            # Keras' TensorBoard may have switched recording off for this batch
            with self._writer.as_default(step), tf.summary.record_if(True):
                yield self
            self._writer.flush()

    def scalar(self, tag: str, value: float) -> None:
        import tensorflow as tf

        tf.summary.scalar(tag, value)

    def histogram(self, tag: str, values: np.ndarray, description: str) -> None:
        """Writes the finite values; tf.summary.histogram would take 240 bytes for each of them."""
        import tensorflow as tf
        from tensorboard.plugins.histogram.metadata import create_summary_metadata

        metadata = create_summary_metadata(display_name=None, description=description)
        tf.summary.write(tag, buckets_of(values), metadata=metadata)

    def image(self, tag: str, picture: np.ndarray, description: str) -> None:
        """Writes a picture, a uint8 array of two axes."""
        import tensorflow as tf

        tf.summary.image(tag, picture[np.newaxis, ..., np.newaxis], description=description)

    def close(self) -> None:
        """Closes the file; what is written next begins another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def buckets_of(values: np.ndarray) -> np.ndarray:
    """The buckets of a histogram as TensorBoard reads them.

    Args:
        values: array of any shape.

    Returns:
        float64 of shape (30, 3): left edge, right edge, and number of finite values between. For
        equal values the edges are equal, too, and the last bucket has all.

    >>> buckets_of(np.array([0.0, 1.0, 30.0]))[[0, 1, 29]].tolist()
    [[0.0, 1.0, 1.0], [1.0, 2.0, 1.0], [29.0, 30.0, 1.0]]
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return np.zeros((BUCKETS, 3))
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        counts = np.zeros(BUCKETS)
        counts[-1] = finite.size
        return np.stack([np.full(BUCKETS, low), np.full(BUCKETS, low), counts], axis=1)
    counts, edges = np.histogram(finite, BUCKETS, (low, high))
    return np.stack([edges[:-1], edges[1:], counts], axis=1)
