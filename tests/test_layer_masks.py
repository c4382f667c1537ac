"""Masks of sparse layers: from files and weights of dense layers, and with an optimizer."""

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same
from two_layers import INPUTS, TARGETS, network, predict, random_mask, sparse_momentum

import keras_sparse as ks

backend = pytest.mark.backend


# --- files


def with_zeros(model, density):
    """The model with this share of nonzero weights, as after training without sparse layers."""
    for layer in (model.get_layer("conv"), model.get_layer("dense")):
        layer.kernel.assign(array(layer.kernel) * random_mask(layer.kernel.shape, density))
    return model


def masks_of(model):
    return arrays([model.get_layer(name).mask for name in ("conv", "dense")])


def test_masks_follow_set_weights_and_checkpoints_of_dense_layers(tmp_path):
    import tensorflow as tf

    dense = with_zeros(network(keras.layers.Conv2D, keras.layers.Dense), 0.1)
    path = tf.train.Checkpoint(model=dense).write(str(tmp_path / "checkpoint"))
    one, other = network(), network()
    one.set_weights(dense.get_weights())
    tf.train.Checkpoint(model=other).read(path).expect_partial()
    expected = [array(dense.get_layer(name).kernel) != 0 for name in ("conv", "dense")]
    for sparse in (one, other):
        assert_same(masks_of(sparse), expected)
        assert ks.summary(sparse, "dict")["total"]["active"] == sum(mask.sum() for mask in expected)
        np.testing.assert_allclose(predict(sparse), predict(dense), rtol=1e-4, atol=1e-5)


def test_active_weights_that_are_0_stay_active():
    layer = network().get_layer("dense")
    layer.set_mask(random_mask((192, 16), 0.5))
    weights, mask = array(layer.kernel), array(layer.mask)
    weights[tuple(np.argwhere(mask)[0])] = 0
    layer.kernel.assign(weights)
    assert_same(arrays([layer.mask]), [mask])


def test_masks_that_an_optimizer_holds_do_not_follow_weights():
    model = network()
    model.compile(sparse_momentum(), "mse")
    model.optimizer.build(model)
    masks = masks_of(model)
    model.set_weights(network().get_weights())
    assert_same(masks_of(model), masks)


# --- with an optimizer


@backend
def test_the_optimizer_and_the_layers_have_the_same_masks(tmp_path):
    model = network()
    model.compile(sparse_momentum(), "mse")
    model.fit(INPUTS, TARGETS, epochs=3, verbose=0, callbacks=[ks.UpdateMasks(every=2)])
    model.optimizer.set_masks({"net/dense/kernel": random_mask((192, 16))})
    model.save_weights(tmp_path / "m.weights.h5")
    other = network()
    other.compile(sparse_momentum(seed=1), "mse")
    other.optimizer.build(other)
    other.load_weights(tmp_path / "m.weights.h5")
    for one in (model, other):
        layers = [one.get_layer("conv"), one.get_layer("dense")]
        assert_same(arrays([layer.mask for layer in layers]), list(model.optimizer.masks.values()))
        assert_same(list(one.optimizer.masks.values()), list(model.optimizer.masks.values()))
        for layer in layers:
            assert not array(layer.kernel)[~array(layer.mask)].any()


def test_there_is_one_mask_and_the_layer_owns_it():
    model = network()
    model.compile(sparse_momentum(dense="conv"), "mse")
    model.optimizer.build(model)
    assert [mask is model.get_layer("dense").mask for mask in model.optimizer.mask_variables] == [
        True
    ]
    assert (
        sum(variable is model.get_layer("dense").mask for variable in model.optimizer.variables)
        == 1
    )
    assert array(model.get_layer("conv").mask).all()


@backend
def test_optimizer_state_that_is_set_reaches_the_layers():
    one, other = network(), network()
    for seed, model in enumerate((one, other)):
        model.compile(sparse_momentum(seed=seed), "mse")
        model.optimizer.build(model)
    other.optimizer.set_weights(arrays(one.optimizer.variables))
    for name in ("conv", "dense"):
        assert_same(
            arrays(other.get_layer(name).kernel_mask.variables),
            arrays(one.get_layer(name).kernel_mask.variables),
        )


@backend
def test_a_model_without_input_shape_trains(updates):
    model = keras.Sequential([ks.layers.SparseDense(32, "tanh"), ks.layers.SparseDense(16)])
    model.compile(sparse_momentum(growth_window=None), "mse")
    model.fit(INPUTS.reshape(4, -1), TARGETS, epochs=3, verbose=0, callbacks=[ks.UpdateMasks()])
    assert updates == [1, 2]
    for layer in model.layers:
        assert not array(layer.kernel)[~array(layer.mask)].any()
    assert sum(array(layer.mask).sum() for layer in model.layers) == round(
        0.25 * (1024 * 32 + 32 * 16)
    )


@backend
def test_a_saved_training_goes_on(tmp_path):
    model = network()
    model.compile(sparse_momentum(growth_window=1), "mse")
    model.fit(INPUTS, TARGETS, epochs=4, verbose=0, callbacks=[ks.UpdateMasks(every=2)])
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    for one in (
        model,
        loaded,
    ):  # begins with the update that is due at step 4, the end of the first
        one.fit(INPUTS, TARGETS, epochs=4, verbose=0, callbacks=[ks.UpdateMasks(every=2)])
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    for one, other in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(
            one, other, rtol=1e-4, atol=1e-6
        )  # XLA does not sum in the same order twice
    assert_same(
        arrays([loaded.get_layer(name).mask for name in ("conv", "dense")]),
        list(model.optimizer.masks.values()),
    )


@backend
def test_a_sparse_layer_type_selects_no_other_layers_after_loading():
    optimizer = sparse_momentum(dense=ks.layers.SparseConv2D)
    assert ks.SparseMomentum.from_config(optimizer.get_config()).selection.dense == [
        ks.layers.SparseConv2D
    ]
