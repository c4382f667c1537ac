"""The seed of random masks and scores: given, or drawn as Keras draws one."""

import numbers
from typing import Any

import keras

from keras_sparse._keras import drawn_seed, to_numpy
from keras_sparse.rules.received import received


class Seed:
    """A number that all workers of a training share, and that files keep.

    Args:
        given: by the user; None: drawn, so it follows ``keras.utils.set_random_seed``, else chance.

    Raises:
        ValueError: no integer, or a negative one.
    """

    def __init__(self, given: int | None) -> None:
        if not (given is None or (isinstance(given, numbers.Integral) and given >= 0)):
            raise ValueError(
                f"`seed` must be None or an integer that is not negative. {received(seed=given)}"
            )
        self._is_given = given is not None
        self._value = drawn_seed() if given is None else int(given)
        self._variable: Any = None

    def build(self) -> None:
        """Makes the variable, which begins on all workers with the value of the first one."""
        if not self._is_given:
            self._variable = keras.Variable(
                self._value, dtype="int32", trainable=False, name="seed"
            )

    @property
    def value(self) -> int:
        return self._value if self._variable is None else int(to_numpy(self._variable))

    def go_on_with(self, saved: int) -> None:
        """Takes the seed of a saved training, unless one was given."""
        if self._variable is not None:
            self._variable.assign(saved)
