"""The counters of a sparse run: when it began, when masks changed last, which epoch runs.

They are variables of the optimizer, saved with the masks.
"""

from typing import Any

import keras

from keras_sparse._keras import to_numpy
from keras_sparse.training.explored_masks import ExploredMasks

# All but `epoch`, the epoch that runs (1, 2, ...; 0: no training), are optimizer steps. The growth
# window is closed where `window_opened` is -1.
COUNTERS = ("last_update", "training_start", "training_stop", "epoch", "window_opened")
NOT_RESTORED = -2  # the epoch, until masks are made: TensorFlow has put back no checkpoint


class Counters(ExploredMasks):
    """Counts; arguments as for ExploredMasks."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counters: dict[str, Any] = {}  # variables

    def counter(self, name: str) -> int:
        """The value of one of COUNTERS."""
        return int(to_numpy(self.counters[name]))

    def set_counter(self, name: str, value: int) -> None:
        self.counters[name].assign(value)

    def _add_counters(self) -> None:
        """Makes the variables; called once, when the optimizer is built."""
        not_restored = keras.initializers.Constant(NOT_RESTORED)
        counters: dict[str, Any] = {}
        for name in COUNTERS:
            start = not_restored if name == "epoch" else "zeros"
            counters[name] = self.add_variable((), start, "int", name=name)
        self.counters = counters

    def _reset_counters(self) -> None:
        """To those of a run that begins at this step; the window stays as it is."""
        self.set_counter("last_update", self.step())
        self.set_counter("training_start", 0)
        self.set_counter("training_stop", -1)
        self.set_counter("epoch", 0)
