"""The time of a training step: on copies, dense and sparse in turns, or a reason why not."""

import keras
import numpy as np
import pytest
from helpers import array, assert_same, built, compiled, sgd, toy_model

import keras_sparse as ks
from keras_sparse.models import step_speed

layers = keras.layers
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of TensorFlow"
)


def timed(model, batch=8, **arguments):
    return ks.summary(model, "dict", batch=batch, time_step=True, **arguments)["total"]


@tensorflow_only
def test_speed_ups_are_dense_seconds_over_sparse_ones(monkeypatch):
    seconds = {"dense": [4.0, 6.0, 5.0], "closed": [1.0, 2.0, 2.0], "open": [2.0, 6.0, 5.0]}
    monkeypatch.setattr(step_speed, "_take_turns", lambda contenders: seconds)
    total = timed(ks.sparsify(built()))
    assert total["step_seconds_dense"] == 5
    assert total["step_speed_up_closed"] == 3  # of 4, 3 and 2.5
    assert total["step_speed_up_open"] == 1  # of 2, 1 and 1


@tensorflow_only
def test_steps_train_copies_with_the_masks_and_leave_the_model(monkeypatch):
    seen = {}

    def step(model, optimizer, data):
        seen["dense" if type(model.layers[0]) is layers.Dense else "sparse"] = model
        return original_step(model, optimizer, data)

    original_step = step_speed._step
    monkeypatch.setattr(step_speed, "_step", step)
    monkeypatch.setattr(step_speed, "TURNS", 1)
    monkeypatch.setattr(step_speed, "MIN_SECONDS_OF_TURN", 0.0)
    model = ks.sparsify(built())
    model.compile(ks.SparseMomentum(sgd(), 0.25, initial_masks="nonzero"), "mse")
    model.optimizer.build(model)
    before, masks = [array(v) for v in model.variables], model.optimizer.masks
    total = timed(model)
    assert total["step_speed_up_closed"] > 0 < total["step_speed_up_open"]
    assert_same([array(v) for v in model.variables], before)
    assert model.optimizer.step() == 0
    sparse, dense = seen["sparse"], seen["dense"]
    assert_same(list(ks.sparse_optimizer(sparse).masks.values()), list(masks.values()))
    assert ks.sparse_optimizer(sparse).step() == 2 * (step_speed.WARM_UP + 1)  # closed and open
    assert dense.optimizer.iterations == step_speed.WARM_UP + 1
    assert type(dense.layers[0]) is layers.Dense
    assert not np.array_equal(array(dense.layers[0].kernel), before[0])  # it trains


@tensorflow_only
def test_several_inputs_integers_and_mixed_precision(policy):
    policy("mixed_float16")
    tokens, numbers = keras.Input((4,), dtype="int32"), keras.Input((8,))
    words = layers.Flatten()(layers.Embedding(10, 4)(tokens))
    outputs = [layers.Dense(4)(layers.Concatenate()([words, numbers])), layers.Dense(2)(words)]
    model = ks.sparsify(keras.Model([tokens, numbers], outputs))
    model.compile(ks.SparseMomentum("adam", 0.5), "mse")
    model.optimizer.build(model.trainable_variables)
    assert timed(model)["step_seconds_dense"] > 0


@tensorflow_only
def test_a_model_that_is_not_compiled_is_timed_with_sgd():
    assert timed(ks.sparsify(toy_model()))["step_seconds_dense"] > 0


@tensorflow_only
def test_what_cannot_be_timed_is_refused():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    inputs = keras.Input((8,))
    own = Own(inputs, layers.Dense(4)(inputs))
    with pytest.raises(ValueError, match="has its own.*Received: Own"):
        timed(own)
    with pytest.raises(ValueError, match="`batch` must be set"):
        ks.summary(toy_model(), "dict", time_step=True)
    texts = keras.Input((1,), dtype="string")
    lookup = layers.StringLookup(vocabulary=["a"], output_mode="one_hot")
    with pytest.raises(ValueError, match="no strings.*Received: input"):
        timed(keras.Model(texts, layers.Dense(4)(lookup(texts))))


@pytest.mark.backend
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="of other backends")
def test_on_other_backends_nothing_is_timed():
    with pytest.raises(ValueError, match="for TensorFlow. Received: time_step=True on"):
        timed(compiled(sgd()))
