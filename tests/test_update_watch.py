"""A ``fit`` whose masks nobody updates warns once: at once if that is certain, else at its end."""

import warnings

import keras
import pytest
from helpers import compiled, fit, sgd, sparse, toy_data, toy_model

import keras_sparse as ks
from keras_sparse.training import sparse_momentum, update_watch


def said(model, *callbacks, **arguments):
    """The first words of each warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, *callbacks, epochs=2, **arguments)
    return [" ".join(str(one.message).split()[:4]) for one in caught]


def test_without_a_callback_the_first_fit_says_so_once():
    model = compiled()
    assert said(model) == ["`fit` has no UpdateMasks"]
    assert said(model) == []


def test_code_of_the_user_may_update_until_the_end():
    model, log = compiled(), keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)
    assert said(model, log) == ["The masks of 'sparse_momentum'"]
    assert said(model, log) == []


def test_the_users_own_update_is_enough():
    model = compiled(sparse())
    update = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: model.optimizer.update_masks()
    )
    assert said(model, update) == []


@pytest.mark.parametrize(
    ("settings", "is_planned", "calls"),
    [({}, False, 1), ({}, True, 0), ({"prune": None, "grow": None}, False, 0)],
)
def test_an_optimizer_asks_once_who_updates_its_masks(monkeypatch, settings, is_planned, calls):
    asked = []
    monkeypatch.setattr(sparse_momentum, "watch_for_updates", lambda of: not asked.append(of))
    model = toy_model()
    optimizer = ks.SparseMomentum(sgd(), 0.25, **settings)
    optimizer.build(model)
    optimizer.updates_are_planned = is_planned
    gradients = [keras.ops.zeros(variable.shape) for variable in model.trainable_variables]
    for _ in range(3):
        optimizer.apply(gradients, model.trainable_variables)
    assert asked == [optimizer] * calls
    optimizer.start_training(10)
    optimizer.apply(gradients, model.trainable_variables)
    assert asked == [optimizer] * (2 * calls)


def test_outside_of_fit_nobody_is_told():
    model, (x, y) = compiled(), toy_data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.train_on_batch(x, y)
    assert not model.optimizer.updates_are_planned


def test_in_fit_it_is_watched_for_once(monkeypatch):
    model = compiled()
    callbacks = keras.callbacks.CallbackList([keras.callbacks.LambdaCallback()], model=model)
    before = len(callbacks.callbacks)
    monkeypatch.setattr(update_watch, "running_fit", lambda: callbacks)
    assert update_watch.watch_for_updates(model.optimizer) is True
    assert len(callbacks.callbacks) == before + 1
    monkeypatch.setattr(update_watch, "running_fit", lambda: None)
    assert update_watch.watch_for_updates(model.optimizer) is False


def test_who_was_told_at_once_is_not_told_again(monkeypatch):
    model = compiled()
    callbacks = keras.callbacks.CallbackList([], model=model)
    monkeypatch.setattr(update_watch, "running_fit", lambda: callbacks)
    with pytest.warns(UserWarning, match="`fit` has no UpdateMasks callback"):
        assert update_watch.watch_for_updates(model.optimizer) is True
    assert model.optimizer.updates_are_planned
