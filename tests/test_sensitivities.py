"""The step of a copy that SNIP's scores come from: how often, how, and of which batches."""

import keras
import numpy as np
import pytest
from helpers import compiled, sgd, toy_data, toy_model

import keras_sparse as ks
from keras_sparse.training import sensitivities
from keras_sparse.training.gradient_average import GradientAverage


class NeverSteps(keras.Model):
    def train_step(self, data):
        return {"loss": 0.0}


@pytest.fixture
def batches(monkeypatch):
    """The batches that a copy trains on."""
    seen, train = [], sensitivities.train_on_batch
    monkeypatch.setattr(
        sensitivities,
        "train_on_batch",
        lambda model, batch: [seen.append(batch), train(model, batch)],
    )
    return seen


def test_one_step_is_enough(batches):
    ks.snip_scores(toy_model(), *toy_data(), loss="mse")
    assert len(batches) == 1


def test_a_loss_scale_is_halved_nineteen_times_at_most(batches):
    inputs = keras.Input((8,))
    model = compiled(sgd(), NeverSteps(inputs, keras.layers.Dense(4)(inputs)))
    with pytest.raises(ValueError, match="none reached the compiled optimizer"):
        ks.snip_scores(model, *toy_data())
    assert len(batches) == 20


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_copy_runs_eagerly_if_its_model_does(eagerly):
    model, copied = compiled(sgd(), run_eagerly=eagerly), toy_model()
    sensitivities._compile(model, copied, GradientAverage(0.0), None)
    assert copied.run_eagerly is eagerly
    assert type(copied.optimizer) is GradientAverage


def test_one_input_without_an_example_is_enough_to_refuse_a_batch():
    with pytest.raises(ValueError, match="at least one example"):
        sensitivities._check_batch([np.ones((1, 2)), np.ones((0, 2))])
    sensitivities._check_batch([np.ones((1, 2)), 3.0])
