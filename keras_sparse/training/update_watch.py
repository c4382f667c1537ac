"""Warnings where ``fit`` trains with masks that nobody updates, or begins without masks.

The first warning comes at once where that is certain, else at the end of ``fit``.
"""

import warnings
from typing import Any

import keras

from keras_sparse._keras import is_eager, model_in_train_step, running_fit

RUN_CODE_OF_THE_USER = (keras.callbacks.LambdaCallback, keras.callbacks.LearningRateScheduler)
REMEDY = (
    "Pass `callbacks=[keras_sparse.UpdateMasks()]`, call `optimizer.update_masks()` yourself, or "
    "pass `prune=None, grow=None` if the masks are to stay."
)
NO_CALLBACK = f"`fit` has no UpdateMasks callback, so the masks will not change. {REMEDY}"
NO_UPDATE = (
    "The masks of {name!r} did not change in this training: no UpdateMasks callback has it, and "
    f"nobody updated them. {REMEDY}"
)
NO_STEP = (
    "The optimizer {name!r} made no step in this training: the model's own `train_step` trains "
    "with others. Put a SparseMomentum around the optimizer that it uses, and name it: "
    "`UpdateMasks(optimizer=...)`."
)
FIRST_STEP_WAS_DENSE = (
    "The first step of this training computed with dense weights: with `run_eagerly=True`, Keras "
    "builds the optimizer only after the forward pass. Call `optimizer.build(model)` before, as "
    "UpdateMasks does for a compiled optimizer. Received: an optimizer that was not built"
)


def warn_of_dense_step() -> None:
    """Warns where an optimizer is built in the middle of a step that has computed already.

    While TensorFlow traces a step, nothing has computed.
    """
    if is_eager() and model_in_train_step() is not None:
        warnings.warn(FIRST_STEP_WAS_DENSE, stacklevel=3)


def watch_for_updates(optimizer: Any) -> bool:
    """Sees to it that ``fit`` warns if the masks of this optimizer do not change.

    Args:
        optimizer: a SparseMomentum; ``updates_are_planned`` says that somebody updates its masks.

    Returns:
        False: no ``fit`` is running.
    """
    callbacks = running_fit()
    if callbacks is None:
        return False
    if _runs_only_keras(callbacks):
        optimizer.updates_are_planned = True  # say it once
        warnings.warn(NO_CALLBACK, stacklevel=3)
    else:
        callbacks.callbacks = [*callbacks.callbacks, _WarnAtTheEnd(optimizer)]
    return True


def _runs_only_keras(callbacks: keras.callbacks.CallbackList) -> bool:
    """Is no code of the user's run between steps, which might update the masks?"""
    of_keras = all(
        _is_of_keras(type(c)) and not isinstance(c, RUN_CODE_OF_THE_USER)
        for c in callbacks.callbacks
    )
    return of_keras and not has_own_train_step(callbacks.model)


def has_own_train_step(model: keras.Model) -> bool:
    """Whether the class of this model has its own training step."""
    return not _is_of_keras(type(model).train_step)


def _is_of_keras(thing: Any) -> bool:
    return bool(thing.__module__.startswith("keras."))


class _WarnAtTheEnd(keras.callbacks.Callback):
    """Now it is known whether the user's own code has updated the masks."""

    def __init__(self, optimizer: Any) -> None:
        super().__init__()
        self._optimizer = optimizer

    def on_train_end(self, logs: Any = None) -> None:
        if not self._optimizer.updates_are_planned:
            self._optimizer.updates_are_planned = True  # say it once
            warnings.warn(NO_UPDATE.format(name=self._optimizer.name), stacklevel=2)
