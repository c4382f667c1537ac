"""Gives memory that TensorFlow and NumPy have freed back to the system, between steps."""

from keras_sparse._keras import is_eager
from keras_sparse.compute.library import available, library


def release_memory() -> None:
    """The process holds no more than what is in use, until it needs more.

    To be called where much was freed that the next steps do not need: after masks were made, and
    when a growth window closes. It takes milliseconds, and changes no value. TensorFlow on CPUs
    with oneDNN never gives memory back by itself. Without the compiled ops nothing happens, nor
    with those of an older version, which have no such op.
    """
    if not available() or not is_eager():
        return
    release = getattr(library(), "keras_sparse_release_memory", None)
    if release is None:
        return
    import tensorflow as tf

    with tf.device("CPU:0"):
        release()
