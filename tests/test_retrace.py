"""When a training step is traced anew, with a model that only counts how often it was."""

import types

import keras
import pytest

import keras_sparse as ks
from keras_sparse.training import retrace


@pytest.fixture
def model(monkeypatch):
    """A model whose second sparse layer chooses as ``wants`` says; no other chooses otherwise."""
    counted = types.SimpleNamespace(traced=0, wants=True)
    stays, wants = ks.layers.SparseDense(4), ks.layers.SparseDense(4)
    monkeypatch.setattr(stays, "chooses_otherwise", lambda: False)
    monkeypatch.setattr(wants, "chooses_otherwise", lambda: counted.wants)

    def make_train_function(force):
        assert force
        counted.traced += 1

    counted.make_train_function = make_train_function
    layers = [keras.layers.Dense(4), stays, wants]
    monkeypatch.setattr(retrace, "layers_of", lambda model: layers)
    return counted


@pytest.mark.parametrize("begun", [0, 5000])
def test_choices_are_looked_at_when_the_training_has_become_twice_as_long(model, begun):
    at = [begun]
    optimizer = types.SimpleNamespace(built=True, step=lambda: at[0])
    retracing, looked = retrace.Retracing([optimizer]), []
    for steps in (9_999, *range(10_000, 90_001, 1000)):
        at[0] = begun + steps
        if retracing.look(model):
            looked.append(steps)
    assert looked == [10_000, 20_000, 40_000, 80_000]
    assert model.traced == 4


def test_a_step_whose_layers_would_choose_the_same_stays(model):
    model.wants = False
    step = iter([0, 10_000])
    optimizer = types.SimpleNamespace(built=True, step=lambda: next(step))
    assert not retrace.Retracing([optimizer]).look(model)
    assert model.traced == 0
