"""Two callbacks around all others of a ``fit``: one logs first, one has the last word."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_sparse._keras import running_callbacks

LogEpoch = Callable[[int, Any], None]


class _LogFirst(keras.callbacks.Callback):
    """Logs the density before all other callbacks look at the logs."""

    def __init__(self, of: keras.callbacks.Callback, log: LogEpoch) -> None:
        super().__init__()
        self.of, self._log = of, log

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._log(epoch, logs)


def others_of_kind(callback: keras.callbacks.Callback, kind: type) -> list[Any]:
    """The other callbacks of a kind in the running ``fit``; none where no ``fit`` runs."""
    running = running_callbacks()
    callbacks = [] if running is None else running.callbacks
    return [one for one in callbacks if isinstance(one, kind) and one is not callback]


def check_no_other_has(callback: Any, kind: type, optimizers: Sequence[Any]) -> None:
    """Raises ValueError if another callback of this kind updates the masks of these optimizers."""
    own = set(map(id, optimizers))
    for other in others_of_kind(callback, kind):
        if both := [one.name for one in other._optimizers() if id(one) in own]:
            raise ValueError(
                f"`callbacks` must have one {kind.__name__} for each SparseMomentum: pass one "
                f"alone, or name its `optimizer`. Received: {callback} and {other}, both for {both}"
            )


def surround_other_callbacks(
    callback: keras.callbacks.Callback, kind: type, log: LogEpoch, end: Callable[[], None]
) -> bool:
    """Has the running ``fit`` call ``log`` before, and ``end`` after, all other callbacks.

    Args:
        callback: the one that is being called; nothing is added twice for it.
        kind: its class, of which there may be several callbacks.
        log: called with the epoch and its logs at the end of each epoch.
        end: called at the end of the training.

    Returns:
        Are there several callbacks of this kind in this ``fit``?  False, too, where no ``fit`` of
        Keras runs, or nothing is added.
    """
    running = running_callbacks()
    if running is None:
        return False
    several = bool(others_of_kind(callback, kind))
    if not any(isinstance(c, _LogFirst) and c.of is callback for c in running.callbacks):
        last = keras.callbacks.LambdaCallback(on_train_end=lambda logs=None: end())
        running.callbacks = [_LogFirst(callback, log), *running.callbacks, last]
    return several
