"""Sparse recurrent layers with dropout, masks, states and wrappers."""

import keras
import numpy as np
import pytest
from helpers import array

import keras_sparse as ks
from keras_sparse._keras import layers_of
from keras_sparse.compute.mask_state import kernel_mask_of

L = keras.layers
X = np.random.default_rng(0).normal(size=(3, 5, 16)).astype("float32")
NAMES = ["LSTM", "GRU", "SimpleRNN"]


def twins(make, shape=(5, 16), batch=None):
    """A Keras model and its sparse copy, with random masks."""
    inputs = keras.Input(shape, batch_size=batch)
    dense = keras.Model(inputs, make(inputs))
    for weight in dense.weights:
        if weight.name.endswith("kernel"):
            kept = np.random.default_rng(1).random(weight.shape) < 0.5
            weight.assign(array(weight) * kept)
    return dense, ks.sparsify(dense, verbose=False)


def assert_same_outputs(dense, sparse, inputs=X, **arguments):
    outputs = [keras.tree.flatten(model(inputs, **arguments)) for model in (dense, sparse)]
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_allclose(array(one), array(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{"dropout": 0.5}, {"recurrent_dropout": 0.3}])
def test_dropout_is_that_of_the_keras_layer(name, settings):
    dense, sparse = twins(lambda x: getattr(L, name)(17, seed=3, **settings)(x))
    assert_same_outputs(dense, sparse, training=True)
    assert_same_outputs(dense, sparse, training=False)


@pytest.mark.parametrize("name", NAMES)
def test_masked_time_steps_are_left_out(name):
    inputs = X * (np.arange(5) < 3)[None, :, None]
    layer = getattr(L, name)(17, return_sequences=True, return_state=True)
    assert_same_outputs(*twins(lambda x: layer(L.Masking()(x))), inputs)


@pytest.mark.parametrize("name", NAMES)
def test_states_go_on_from_batch_to_batch(name):
    dense, sparse = twins(lambda x: getattr(L, name)(17, stateful=True)(x), batch=3)
    for _ in range(2):
        assert_same_outputs(dense, sparse)


WRAPPERS = {
    "bidirectional": lambda x: L.Bidirectional(L.LSTM(17, return_sequences=True))(x),
    "a cell": lambda x: L.RNN(L.GRUCell(17, reset_after=False))(x),
    "stacked cells": lambda x: L.RNN([L.LSTMCell(17), L.SimpleRNNCell(16)])(x),
    "time distributed": lambda x: L.TimeDistributed(L.LSTM(16))(x[..., None]),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_cells_are_sparse_within_any_wrapper(name, tmp_path):
    dense, sparse = twins(WRAPPERS[name])
    assert_same_outputs(dense, sparse)
    kernels = [weight for weight in sparse.weights if weight.name.endswith("kernel")]
    assert all(kernel_mask_of(kernel) is not None for kernel in kernels)
    sparse.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert [type(layer) for layer in layers_of(loaded)] == [type(x) for x in layers_of(sparse)]
    assert_same_outputs(loaded, sparse)


def test_the_inputs_of_all_time_steps_are_one_product():
    layer = ks.layers.SparseLSTM(64, implementation="auto")
    layer.build((8, 50, 64))
    layer.cell.set_mask(np.random.default_rng(0).random((64, 256)) < 0.1)
    layer.cell.set_mask(np.random.default_rng(0).random((64, 256)) < 0.1, "recurrent_kernel")
    if ks.ops.available() and keras.backend.backend() == "tensorflow":
        assert layer.runs_as((8, 50, 64)) == "custom op"
        assert layer.runs_as((8, 5, 64)) == "stock: 40 output positions are too few"
        assert layer.runs_as((512, 5, 64), "recurrent_kernel") == "custom op"
        assert layer.runs_as((8, 50, 64), "recurrent_kernel").startswith("stock: 8 output")
    with pytest.raises(ValueError, match="`weight` must be one of.*Received: weight='bias'"):
        layer.cell.set_mask(np.ones((64, 256), bool), "bias")


def test_a_cell_with_a_dropout_mask_for_each_gate_stays_dense():
    inputs = keras.Input((5, 16))
    layer = L.LSTM(17, dropout=0.5, recurrent_dropout=0.3)
    model = keras.Model(inputs, L.Dense(4)(layer(inputs)))
    found = [type(one) for one in layers_of(ks.sparsify(model, verbose=False))]
    assert found[1:] == [L.LSTM, L.LSTMCell, ks.layers.SparseDense]


def test_cells_of_few_units_stay_dense():
    inputs = keras.Input((5, 8))
    layer = L.Bidirectional(L.LSTM(4))
    with pytest.warns(UserWarning, match="converted no layer"):
        model = ks.sparsify(keras.Model(inputs, layer(inputs)))
    assert not [one for one in layers_of(model) if isinstance(one, ks.layers.SparseLayer)]


def test_what_is_multiplied_in_parts_says_so():
    def why(layer):
        layer.build((None, 5, 16))
        return layer.why_stock(None, "recurrent_kernel")

    assert why(ks.layers.SparseGRU(16, reset_after=False)).startswith("reset_after is False")
    assert "dropout mask" in why(ks.layers.SparseLSTM(16, recurrent_dropout=0.1))


def test_a_saved_training_of_attention_and_recurrent_layers_goes_on(tmp_path):
    inputs = keras.Input((5, 16))
    x = L.MultiHeadAttention(2, 4)(inputs, inputs)
    model = ks.sparsify(keras.Model(inputs, L.LSTM(17)(x)))
    model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), 0.5), "mse")
    data, update = (np.repeat(X, 2, 0), np.ones((6, 17))), ks.UpdateMasks(every=2)
    model.fit(*data, batch_size=2, verbose=0, callbacks=[update])
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    kernels = [weight for weight in loaded.weights if kernel_mask_of(weight) is not None]
    assert len(kernels) == 6
    for kernel, mask in zip(kernels, model.optimizer.masks.values(), strict=True):
        np.testing.assert_array_equal(array(kernel_mask_of(kernel).mask), mask)
    loaded.fit(*data, batch_size=2, verbose=0, callbacks=[ks.UpdateMasks(every=2)])
    for kernel, mask in zip(kernels, loaded.optimizer.masks.values(), strict=True):
        assert not array(kernel)[~mask].any()
