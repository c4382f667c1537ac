"""Gives memory that TensorFlow and NumPy have freed back to the system, between steps."""

from keras_sparse._keras import is_eager
from keras_sparse.compute.library import available, library

LEAST_WEIGHTS = 16 * 2**20  # bytes: less is not worth milliseconds
MOST_FREE = 4  # times the weights


def release_memory(weight_bytes: int) -> None:
    """The process holds no more than what is in use, until it needs more.

    Args:
        weight_bytes: of the masked weights, in float32.

    To be called where arrays of the weights' size were freed that the next steps do not need: after
    masks were made, and when a growth window closes. It takes milliseconds, and changes no value.
    Nothing happens where the weights take less than 16 MiB, or less than a quarter of what is free:
    outputs of layers would need the memory again in each step. TensorFlow on CPUs with oneDNN never
    gives memory back by itself. Without the compiled ops nothing happens, nor with those of an
    older version, which have no such op.
    """
    if weight_bytes < LEAST_WEIGHTS or not available() or not is_eager():
        return
    release = getattr(library(), "keras_sparse_release_memory", None)
    if release is None:
        return
    import tensorflow as tf

    with tf.device("CPU:0"):
        release(at_most=MOST_FREE * weight_bytes)
