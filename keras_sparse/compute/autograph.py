"""Keeps AutoGraph from rewriting a function that is called inside a ``tf.function``."""

from collections.abc import Callable
from typing import Any, TypeVar

import keras

Function = TypeVar("Function", bound=Callable[..., Any])


def as_written(function: Function) -> Function:
    """The same function, run as it is written.

    AutoGraph would warn that it cannot rewrite it, and there is nothing to rewrite: no ``if`` of
    the operations asks a tensor.
    """
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.autograph.experimental.do_not_convert(function)
