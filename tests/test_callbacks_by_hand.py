"""UpdateMasks by hand: what it asks of trainings, and what it shows, checks and logs."""

import warnings
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from helpers import STEPS, built, compiled, fit

import keras_sparse as ks
from keras_sparse.training import callbacks


@pytest.fixture
def idle():
    """A callback whose model has its masks; nothing trains."""
    callback = ks.UpdateMasks()
    callback.set_model(built())
    callback.set_params({"verbose": 0, "epochs": 2, "steps": 4})
    return callback


class Training:
    """Stands for a MaskTraining; notes what it is asked in a list."""

    def __init__(self, events, looks_at=None, is_idle=False):
        self.events, self.looks_at, self.is_idle = events, looks_at, is_idle
        self.optimizer = built().optimizer

    def end_last_batch(self, next_batch=None):
        self.events.append(("end", next_batch))

    def has_to_look(self, batch):
        return batch == self.looks_at

    def begin_batch(self, batch):
        self.events.append(("begin", batch))

    def end(self):
        self.events.append("end of the training")

    def made_no_step(self):
        return self.is_idle


def test_a_line_shows_an_update_where_one_of_the_trainings_has_to_look(idle, monkeypatch):
    events, shown = [], []
    idle._trainings = [Training(events, looks_at=2), Training(events)]
    monkeypatch.setattr(callbacks, "progress", lambda *what: shown.append(what) or nullcontext())
    for batch in (1, 2):
        idle.on_train_batch_begin(batch)
    assert shown == [("mask update", 0)]
    assert events == [("end", 1)] * 2 + [("begin", 1)] * 2 + [("end", 2)] * 2 + [("begin", 2)] * 2


def test_outside_of_fit_a_long_operation_is_shown(monkeypatch):
    shown, callback = [], ks.UpdateMasks()
    monkeypatch.setattr(callbacks, "progress", lambda *what: shown.append(what))
    for params in (None, {}, {"verbose": 0}):
        callback.set_params(params)
        callback._progress("first masks")
    assert shown == [("first masks", True), ("first masks", True), ("first masks", 0)]


def test_the_steps_of_the_last_batch_count_before_an_epoch_is_logged(idle):
    events, logs = [], {}
    idle._trainings = [Training(events)]
    idle.log(0, logs)
    assert events == [("end", None)]
    assert logs == {"density": 0.25, "exploration_rate": 0.25}


def test_masks_are_checked_after_the_last_epoch(idle):
    events = []
    idle._trainings = [Training(events)]
    idle._check_agreement = lambda: events.append("check")
    idle.on_train_end()
    assert events == ["end of the training", "check"]


@pytest.mark.parametrize(
    ("is_idle", "is_own", "warns"), [(True, True, 1), (True, False, 0), (False, True, 0)]
)
def test_a_model_that_trains_without_the_optimizer_is_told_so(
    idle, monkeypatch, is_idle, is_own, warns
):
    idle._trainings = [Training([], is_idle=is_idle)]
    monkeypatch.setattr(callbacks, "has_own_train_step", lambda model: is_own)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        idle.on_train_end()
    assert ["made no step in this training" in str(one.message) for one in caught] == [True] * warns


def test_each_epoch_looks_whether_a_step_must_be_traced_anew(idle):
    idle.on_train_begin()
    looked = []
    idle._retracing = SimpleNamespace(look=looked.append)
    idle.on_epoch_begin(0)
    assert looked == [idle.model]


def test_another_model_begins_a_history_and_its_density_is_all_that_is_logged(monkeypatch):
    checked, callback = [], ks.UpdateMasks()
    monkeypatch.setattr(callbacks.agreement, "check_agreement", checked.append)
    for _ in range(2):
        logs = fit(compiled(), callback, epochs=2).history
    assert callback.history["step"] == [STEPS, 2 * STEPS]  # of the second model alone
    assert set(logs) == {"loss", "density", "exploration_rate"}
    assert not checked
