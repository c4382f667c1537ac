"""Weights that an optimizer's masks do not have: predictions use them until a step masks them."""

import warnings

import keras
import numpy as np
import pytest
from helpers import sgd
from oracle import needs_ops

import keras_sparse as ks

pytestmark = [needs_ops]
X = np.random.default_rng(0).normal(size=(64, 256)).astype("f")


def trained(implementation="auto", policy="float32", epochs=2):
    """A wide layer of which 2 % is active, so that the custom op computes it."""
    keras.utils.set_random_seed(0)
    wide = ks.layers.SparseDense(1024, implementation=implementation, dtype=policy, name="wide")
    head = keras.layers.Dense(1, dtype="float32", name="head")
    model = keras.Sequential([keras.Input((256,)), wide, head])
    model.compile(ks.SparseMomentum(sgd(), 0.02, dense=["head"]), "mse")
    model.fit(X, X[:, :1], verbose=0, epochs=epochs, callbacks=[ks.UpdateMasks()])
    assert wide.runs_as(X.shape) == "custom op"
    return model


def by_hand(weights):
    kernel, bias, head, head_bias = weights
    return (X @ kernel + bias) @ head + head_bias


def dense(weights, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=one.shape).astype(one.dtype) / 16 for one in weights]


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("predicts_before", [True, False])
def test_predictions_are_those_of_the_weights_that_were_set(policy, predicts_before):
    model = trained(policy=policy)
    masks, own = model.optimizer.masks, model.get_weights()
    if predicts_before:
        model.predict(X, verbose=0)
    model.set_weights(weights := dense(own))
    tolerance = 1e-4 if policy == "float32" else 0.1
    np.testing.assert_allclose(model.predict(X, verbose=0), by_hand(weights), atol=tolerance)
    for name, mask in model.optimizer.masks.items():
        np.testing.assert_array_equal(mask, masks[name])
    with pytest.raises(ValueError, match="not those of this sparse run"):
        model.fit(X, X[:, :1], verbose=0, callbacks=[ks.UpdateMasks()])
    model.set_weights(own)  # these fit the masks
    assert model.layers[0].runs_as(X.shape) == "custom op"
    np.testing.assert_allclose(model.predict(X, verbose=0), by_hand(own), atol=tolerance)


def test_the_best_weights_of_an_own_loop_predict_after_masks_have_changed():
    model = trained(epochs=2)
    best = model.get_weights()
    model.fit(X, X[:, :1], verbose=0, epochs=3, callbacks=[ks.UpdateMasks()])
    assert (best[0] != 0)[~model.layers[0].mask.numpy()].any()
    model.set_weights(best)
    np.testing.assert_allclose(model.predict(X, verbose=0), by_hand(best), atol=1e-5)
    model.fit(X, X[:, :1], verbose=0, epochs=2, callbacks=[ks.UpdateMasks()])  # from these
    assert model.layers[0].runs_as(X.shape) == "custom op"
    assert model.optimizer.total_density() == pytest.approx(0.02, abs=1e-4)


def test_masked_weights_run_the_kernel_again():
    model = trained()
    model.layers[0].kernel.assign(dense(model.get_weights())[0])
    assert "density 1.00" in model.layers[0].runs_as(X.shape)
    model.optimizer.apply_masks()
    assert model.layers[0].runs_as(X.shape) == "custom op"
    np.testing.assert_allclose(model.predict(X, verbose=0), by_hand(model.get_weights()), atol=1e-5)


def test_a_layer_that_always_skips_them_says_so(tmp_path):
    model = trained("custom_op")
    own = model.get_weights()
    model.save(tmp_path / "a.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    other = keras.models.load_model(tmp_path / "a.keras")  # whose masks come after its weights
    other.fit(X, X[:, :1], verbose=0, epochs=2, callbacks=[ks.UpdateMasks()])
    other.load_weights(tmp_path / "a.weights.h5")
    assert other.layers[0].runs_as(X.shape) == "custom op"
    np.testing.assert_allclose(other.predict(X, verbose=0), by_hand(own), atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_weights(own)
    with pytest.warns(UserWarning, match="wide/kernel' were set that its mask does not have"):
        model.set_weights(dense(own))


def test_a_frozen_layer_says_so_too():
    model = trained()
    model.layers[0].trainable = False
    with pytest.warns(UserWarning, match="wide/kernel' were set that its mask does not have"):
        model.set_weights(dense(model.get_weights()))
