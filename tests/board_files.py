"""What is in the files that TensorBoard reads, and masks to write there."""

import numpy as np
import pytest

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
)
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def read(folder, run="masks"):
    """An EventAccumulator of all that a run has."""
    found = event_accumulator.EventAccumulator(
        str(folder / run), {"tensors": 0, "scalars": 0, "images": 0}
    )
    return found.Reload()


def points(found, tag):
    """[(step, value)] of a scalar."""
    import tensorflow as tf

    return [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in found.Tensors(tag)]


def tensors(found, tag):
    import tensorflow as tf

    return [(e.step, tf.make_ndarray(e.tensor_proto)) for e in found.Tensors(tag)]


def known_masks():
    """32 of 128 weights in the hidden layer, 16 of 64 in the head: the first inputs."""
    hidden, head = np.zeros((8, 16), bool), np.zeros((16, 4), bool)
    hidden[:2], head[:4] = True, True
    return {HIDDEN: hidden, HEAD: head}
