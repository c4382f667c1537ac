"""Values of variables, whatever the backend and dtype."""

from typing import Any

import keras
import numpy as np
from keras import ops


def static_value(tensor: Any) -> np.ndarray | None:
    """The values of a tensor that are known now: eagerly, or of a constant in a graph; or None."""
    if keras.backend.backend() != "tensorflow":
        return to_numpy(tensor)
    import tensorflow as tf

    return tf.get_static_value(tensor)


def to_numpy(variable: Any) -> np.ndarray:
    """The value of a variable or tensor, a copy.

    As it is stored: where the call of a 16-bit layer goes on, Keras would cast it.
    """
    from keras.src.backend.common import AutocastScope

    with AutocastScope(None):
        value = variable.value if isinstance(variable, keras.Variable) else variable
    # Not through NumPy's __array__, whose protocol TensorFlow follows with a warning.
    if keras.backend.backend() == "tensorflow":
        return np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    return np.asarray(ops.convert_to_numpy(value))


def to_float32(variable: Any) -> np.ndarray:
    """The value of a variable or tensor as float32, bfloat16 and float16 included."""
    return to_numpy(variable).astype(np.float32, copy=False)


def has_value(variable: Any) -> bool:
    """Has the variable a value?  Not while TensorFlow traces the step that makes it."""
    return keras.backend.backend() != "tensorflow" or bool(variable.value.is_initialized())


def set_path(variable: Any, path: str) -> None:
    """Gives a variable another path than that of the scope in which it was made."""
    variable._path = path


def is_sparse(tensor: Any) -> bool:
    """Is this a sparse tensor of TensorFlow or JAX, or a symbolic one of Keras?"""
    if isinstance(tensor, keras.KerasTensor):
        return bool(tensor.sparse)
    return type(tensor).__name__ in ("SparseTensor", "BCOO")


def symbolic(tensor: Any, batch: int | None = None) -> keras.KerasTensor:
    """A KerasTensor like this tensor.

    Args:
        tensor: of any backend, or a KerasTensor.
        batch: its first size; None: the tensor's.
    """
    shape = tuple(tensor.shape)
    shape = shape if batch is None else (batch, *shape[1:])
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return keras.KerasTensor(shape, dtype, sparse=is_sparse(tensor))


def tensor_of_bytes(data: bytes) -> Any:
    """A TensorFlow string."""
    import tensorflow as tf

    return tf.constant(data, tf.string)


def bytes_of_tensor(tensor: Any) -> bytes:
    """What ``tensor_of_bytes`` was given."""
    return bytes(tensor.numpy())


def of_the_first_worker(values: np.ndarray) -> np.ndarray:
    """An int32 array, that of the first worker on all workers of a TensorFlow strategy.

    A variable begins everywhere with the value of the first worker.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    return to_numpy(
        keras.Variable(values, dtype="int32", trainable=False, name="of_the_first_worker")
    )
