"""What a ``fit`` builds before its first step; test_snip.py has masks that await a batch."""

import keras
import pytest
from helpers import compiled, fit, sgd, sparse, toy_model

import keras_sparse as ks
from keras_sparse.training.before_first_step import prepare


class HalfBuilt(keras.Model):
    """One of its layers has weights, and the model is not built."""

    def __init__(self):
        super().__init__()
        self.first, self.second = keras.layers.Dense(4), keras.layers.Dense(2)
        self.first.build((None, 8))

    def call(self, x):
        return self.second(self.first(x))


def frozen():
    model = toy_model()
    model.trainable = False
    return model


@pytest.mark.parametrize(
    ("make", "is_built"), [(toy_model, True), (frozen, False), (HalfBuilt, False)]
)
def test_the_compiled_optimizer_is_built_where_the_model_has_all_its_weights(make, is_built):
    model = compiled(model=make())
    prepare(model, [model.optimizer], is_compiled=True)
    assert model.optimizer.built == is_built


def test_an_optimizer_of_no_mask_update_is_left():
    model, other = compiled(sgd()), sparse()
    prepare(model, [other], is_compiled=False)
    assert not model.optimizer.built
    assert not other.built


@pytest.mark.parametrize("eagerly", [True, False])
def test_a_model_of_unknown_inputs_is_built_before_an_eager_training_alone(eagerly):
    model, seen = keras.Sequential([keras.layers.Dense(4)]), []
    compiled(model=model, run_eagerly=eagerly)
    look = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append((model.built, model.optimizer.built))
    )
    fit(model, ks.UpdateMasks(), look, epochs=2)
    assert seen == [(eagerly, eagerly)]


def test_data_that_cannot_be_read_twice_leave_the_model_as_it_is():
    model = compiled(model=keras.Sequential([keras.layers.Dense(4)]), run_eagerly=True)
    prepare(model, [model.optimizer], is_compiled=True)  # no `fit` has data at all
    assert not model.built
