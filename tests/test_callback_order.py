"""Two callbacks stand around all others of a ``fit``."""

from types import SimpleNamespace

import keras
import pytest

from keras_sparse.training import callback_order
from keras_sparse.training.callback_order import check_no_other_has, surround_other_callbacks


class Masks(keras.callbacks.Callback):
    """Stands for UpdateMasks."""

    def __init__(self, *optimizers):
        super().__init__()
        self.optimizers = optimizers

    def _optimizers(self):
        return self.optimizers


class Other(keras.callbacks.Callback):
    def __init__(self, events):
        super().__init__()
        self.events = events

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(f"other after epoch {epoch}, {logs}")

    def on_train_end(self, logs=None):
        self.events.append("other at the end")


@pytest.fixture
def fit(monkeypatch):
    """Sets the callbacks of the running ``fit``."""
    running = SimpleNamespace(callbacks=[])
    monkeypatch.setattr(callback_order, "running_callbacks", lambda: running)
    return running


def surround(callback, events):
    return surround_other_callbacks(
        callback,
        Masks,
        lambda epoch, logs: events.append(f"log of epoch {epoch}, {logs}"),
        lambda: events.append("end"),
    )


def test_the_log_comes_first_and_the_end_comes_last(fit):
    events, masks = [], Masks()
    fit.callbacks = [masks, Other(events)]
    assert surround(masks, events) is False
    for callback in fit.callbacks:
        callback.on_epoch_end(2, {"loss": 1})
    for callback in fit.callbacks:
        callback.on_train_end()
    logs = ["log of epoch 2, {'loss': 1}", "other after epoch 2, {'loss': 1}"]
    assert events == [*logs, "other at the end", "end"]


def test_nothing_is_added_twice_for_a_callback(fit):
    masks = Masks()
    fit.callbacks = [masks]
    assert [surround(masks, []) for _ in range(2)] == [False, False]
    assert len(fit.callbacks) == 3


def test_each_of_several_callbacks_of_the_kind_has_its_own(fit):
    one, other = Masks(), Masks()
    fit.callbacks = [one, other, Other([])]
    assert surround(one, []) is True
    assert surround(other, []) is True
    assert len(fit.callbacks) == 7


def test_nothing_is_added_where_no_fit_runs():
    assert surround(Masks(), []) is False


def test_two_callbacks_of_the_kind_have_no_optimizer_in_common(fit):
    shared, own = (SimpleNamespace(name=name) for name in ("shared", "own"))
    one, other = Masks(shared), Masks(own, shared)
    fit.callbacks = [one, Other([]), other]
    check_no_other_has(one, Masks, [])
    with pytest.raises(ValueError, match=r"must have one Masks for each.*both for \['shared'\]"):
        check_no_other_has(one, Masks, [shared])
