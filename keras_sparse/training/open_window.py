"""The growth window: while it is open, sparse layers compute gradients of missing weights, too.

How long it has to be open before an update is in ``growth_window.py``.
"""

from typing import Any

import numpy as np

from keras_sparse._keras import to_numpy
from keras_sparse.compute.free_memory import release_memory
from keras_sparse.rules.received import received
from keras_sparse.training.counters import Counters


class OpenWindow(Counters):
    """Opens and closes the growth window; arguments as for Counters."""

    growth_window_open: Any  # a bool variable, made when the optimizer is built

    def grows_by_gradients(self) -> bool:
        """Do the rules look at gradients of missing weights?"""
        raise NotImplementedError

    def open_growth_window(self, is_open: bool) -> None:
        """Says whether missing weights get gradients from the next step on, in every sparse layer.

        The UpdateMasks callback does it in ``fit``. In a custom loop the window is open until you
        close it; call it between steps, outside of ``tf.function``. Other layers compute dense
        gradients always.

        Args:
            is_open: True: the weight gradient is dense; False: missing weights get none, and what
                their momentum remembers fades. In ``fit`` the stock operation's gradient is dense
                all the same: it costs nothing more.

        Raises:
            ValueError: an optimizer that is not built.
            TypeError: no bool.
        """
        if np.asarray(is_open).dtype != bool:
            raise TypeError(f"`is_open` must be a bool. {received(is_open=is_open)}")
        self.check_built(awaits_batch=True)
        # `window_opened` says it; the variable and the layers' switches are copies for graphs
        if bool(to_numpy(self.growth_window_open)) != is_open:
            self.growth_window_open.assign(is_open)
            if not is_open:
                release_memory(self.masked_bytes())  # of dense gradients
        if (self.counter("window_opened") >= 0) != is_open:
            self.set_counter("window_opened", self.step() if is_open else -1)
        for kernel_mask in self._kernel_masks():
            kernel_mask.want_dense_weight_gradient(is_open)

    def window_opened(self) -> int:
        """The step since which there is something to grow by.

        -1: there is nothing, the window is closed.
        """
        if not self.grows_by_gradients() or not self._kernel_masks():
            return 0
        return self.counter("window_opened")

    def can_grow(self) -> bool:
        """Is there anything to grow by?

        No, where a rule reads gradients and sparse layers compute none of missing weights.
        """
        return self.window_opened() >= 0
