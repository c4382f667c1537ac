"""SNIP: sensitivities |weight * gradient| of one batch, and masks of the largest in all layers."""

import random
import warnings

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same, compiled, sgd, toy_data, toy_model

import keras_sparse as ks
from keras_sparse.rules.single_weights import Weights
from keras_sparse.training.competing_masks import sensitivity_masks

backend = pytest.mark.backend
layers = keras.layers


def chain(bias=False):
    """A linear network y = x A B, with kernels that are easy to differentiate by hand."""
    names = {"use_bias": bias}
    parts = [layers.Dense(2, name="a", **names), layers.Dense(1, name="b", **names)]
    model = keras.Sequential([keras.Input((2,)), *parts], name="chain")
    model.get_layer("a").kernel.assign([[1.0, 2.0], [3.0, 4.0]])
    model.get_layer("b").kernel.assign([[1.0], [-1.0]])
    return model


X, Y = np.array([[1.0, 2.0]], "float32"), np.array([[0.0]], "float32")
# x A = [7, 10] and y = -3, so the derivative of y^2 by y is -6; by A -6 x^T B^T, by B -6 A^T x^T.
A = np.abs([[1 * -6 * 1, 2 * -6 * -1], [3 * -12 * 1, 4 * -12 * -1]])  # [[6, 12], [36, 48]]
B = np.abs([[1 * -6 * 7], [-1 * -6 * 10]])  # [[42], [60]]


@backend
def test_scores_by_hand():
    scores = ks.snip_scores(chain(), X, Y, loss="mse")
    assert list(scores) == ["chain/a/kernel", "chain/b/kernel"]
    np.testing.assert_allclose(scores["chain/a/kernel"], A, rtol=1e-5)
    np.testing.assert_allclose(scores["chain/b/kernel"], B, rtol=1e-5)


@backend
def test_all_layers_compete():
    masks = ks.snip_masks(chain(), X, Y, 0.5, loss="mse")  # 60, 48, 42 of 6 weights
    np.testing.assert_array_equal(masks["chain/a/kernel"], [[False, False], [False, True]])
    np.testing.assert_array_equal(masks["chain/b/kernel"], [[True], [True]])


def test_each_layer_keeps_a_weight():
    model = chain()
    model.get_layer("a").kernel.assign(array(model.get_layer("a").kernel) * 1e-6)
    masks = ks.snip_masks(model, X, Y + 1, 0.5, loss="mse")
    assert [int(mask.sum()) for mask in masks.values()] == [1, 2]


@pytest.mark.parametrize("density", [0.05, 0.1, 0.31, 0.999, 1.0])
def test_counts_are_exact(density):
    masks = ks.snip_masks(toy_model(), *toy_data(), density, loss="mse")
    assert sum(int(mask.sum()) for mask in masks.values()) == round(density * 192)


def test_scores_of_a_block_are_summed():
    model = keras.Sequential([keras.Input((2,)), layers.Dense(4, use_bias=False, name="d")])
    model.get_layer("d").kernel.assign([[1.0, 1.0, 9.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    x, y = np.ones((1, 2)), [[-4.0, -4.0, 8.0, 0.0]]  # errors 6, 6, 1, 0 -> scores 6 x 4 and 9
    kernel = model.weights[0].path
    masks = ks.snip_masks(model, x, np.array(y), 0.5, loss="mse", block_shape=(2, 2))
    np.testing.assert_array_equal(masks[kernel], [[True, True, False, False]] * 2)
    assert ks.snip_masks(model, x, np.array(y), 1 / 8, loss="mse")[kernel][0, 2]


def test_blocks_of_convolutions_and_dense_layers_compete_by_the_mean():
    inputs = keras.Input((6, 6, 4))
    outputs = layers.Dense(8)(layers.Flatten()(layers.Conv2D(8, 3)(inputs)))
    model = keras.Model(inputs, outputs)
    data = toy_data((6, 6, 4), 8)
    masks = ks.snip_masks(model, *data, 0.25, loss="mse", block_shape=(4, 4))
    total = 3 * 3 * 4 * 8 + 128 * 8
    assert abs(sum(int(mask.sum()) for mask in masks.values()) - total / 4) <= 72
    masks = ks.snip_masks(model, *data, 0.25, loss="mse", block_shape=(3, 4))
    assert 0 <= total / 4 - sum(int(mask.sum()) for mask in masks.values()) < 9 * 3 * 4


# --- models


def batch_normalized():
    inputs = keras.Input((8,))
    x = layers.BatchNormalization()(layers.Dense(16, kernel_regularizer="l2")(inputs))
    return keras.Model(inputs, layers.Dense(4)(layers.Dropout(0.5)(x)), name="bn")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden, self.head = layers.Dense(16, "tanh"), layers.Dense(4)

    def call(self, x):
        return self.head(self.hidden(x))


def built_subclass():
    model = Subclassed()
    model(toy_data()[0])
    return model


class OwnStep(keras.Model):
    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.own = None

    def train_step(self, data):
        return {"loss": 0.0}


@backend
@pytest.mark.parametrize("make", [toy_model, batch_normalized, built_subclass])
def test_the_model_is_left_as_it_was(make):
    model = compiled(ks.SparseMomentum(sgd(), 0.25), make(), metrics=["mae"])
    before, states = arrays(model.variables), (random.getstate(), np.random.get_state()[1].copy())
    optimizer, train_function = model.optimizer, model.train_function
    losses = model.loss, len(model.losses)
    masks = ks.snip_masks(model, *toy_data(), 0.25)
    assert sum(int(mask.sum()) for mask in masks.values()) == 48
    assert_same(arrays(model.variables), before)
    assert model.optimizer is optimizer
    assert not optimizer.built
    assert model.train_function is train_function
    assert (model.loss, len(model.losses)) == losses
    assert random.getstate() == states[0]
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])


def test_a_weight_regularizer_is_left_out():
    model, plain = chain(), chain()
    model.get_layer("a").kernel.regularizer = keras.regularizers.L2(10.0)
    one, other = (ks.snip_scores(net, X, Y, loss="mse") for net in (model, plain))
    assert_same(list(one.values()), list(other.values()))
    assert model.get_layer("a").kernel.regularizer is not None


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_ranks_alike(policy, name):
    policy(name)
    scores = ks.snip_scores(chain(), X, Y, loss="mse")
    np.testing.assert_allclose(scores["chain/a/kernel"], A, rtol=0.02)


def test_a_loss_scale_that_overflows_is_halved(policy):
    policy("mixed_float16")
    scores = ks.snip_scores(chain(), 100 * X, Y, loss="mse")  # gradients of 12e4 are too large
    assert np.isfinite(scores["chain/b/kernel"]).all()
    np.testing.assert_allclose(scores["chain/b/kernel"], 1e4 * B, rtol=0.02)


@backend
def test_sparse_layers_have_the_same_scores():
    model = toy_model()
    models = model, ks.sparsify(model, verbose=False)
    scores = [ks.snip_scores(net, *toy_data(), loss="mse").values() for net in models]
    for one, other in zip(*scores, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_several_inputs_outputs_and_losses():
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
    joined = layers.Concatenate()([a, b])
    outputs = {"p": layers.Dense(2, name="p")(joined), "q": layers.Dense(1, name="q")(joined)}
    model = keras.Model({"a": a, "b": b}, outputs)
    weights = {"p": 1.0, "q": 0.0}
    model.compile("sgd", {"p": "mse", "q": "mse"}, loss_weights=weights)
    x = {"a": np.ones((4, 3)), "b": np.ones((4, 2))}
    y = {"p": np.ones((4, 2)), "q": np.ones((4, 1))}
    scores = ks.snip_scores(model, x, y)
    assert [bool(score.any()) for score in scores.values()] == [True, False]


def test_selected_and_frozen_weights():
    model = toy_model()
    masks = ks.snip_masks(model, *toy_data(), 0.5, loss="mse", dense="head")
    assert list(masks) == ["toy/hidden/kernel"]
    model.get_layer("hidden").trainable = False
    assert list(ks.snip_masks(model, *toy_data(), 0.5, loss="mse")) == ["toy/head/kernel"]


def test_what_cannot_work_is_told():
    import tensorflow as tf

    model, (x, y) = toy_model(), toy_data()
    with pytest.raises(ValueError, match="SNIP needs a loss: compile the model, or pass `loss`"):
        ks.snip_masks(model, x, y, 0.5)
    with pytest.raises(ValueError, match=r"`density` must be in \(0, 1\]. Received: density=1.5"):
        ks.snip_masks(model, x, y, 1.5, loss="mse")
    with pytest.raises(ValueError, match=r"fewer active weights \(1\) than layers \(2\)"):
        ks.snip_masks(model, x, y, 1 / 192, loss="mse")
    with pytest.raises(TypeError, match=r"must be one batch.*next\(iter\(dataset\)\)"):
        ks.snip_masks(model, tf.data.Dataset.from_tensors((x, y)), None, 0.5, loss="mse")
    with pytest.raises(ValueError, match="NaN in .'toy/hidden/kernel', 'toy/head/kernel'"):
        ks.snip_masks(model, x * np.nan, y, 0.5, loss="mse")
    with pytest.warns(UserWarning, match="Only 64 weights move the loss of this batch, and 96 are"):
        ks.snip_masks(model, np.eye(4, 8), y[:4], 0.75, loss="mse", dense="head")
    for layer in model.layers:
        layer.kernel.assign(array(layer.kernel) * 0)
    with pytest.raises(ValueError, match="All sensitivities are 0"):
        ks.snip_masks(model, x, y, 0.5, loss="mse")
    inputs = keras.Input((8,))
    own = compiled(model=OwnStep(inputs, layers.Dense(4)(inputs)))
    with pytest.raises(ValueError, match="none reached the compiled optimizer.*OwnStep"):
        ks.snip_masks(own, x, y, 0.5)


def test_what_a_structure_cannot_have_is_told(monkeypatch):
    def masks(density):
        return ks.snip_masks(toy_model(), *toy_data(), density, structure=ks.NofM(2, 4), loss="mse")

    with pytest.raises(ValueError, match=r"`density` must be at most 0.5 with .*density=0.75"):
        masks(0.75)
    with pytest.raises(ValueError, match=r"`density` must be in \(0, 1\]. Received: density='5%'"):
        masks("5%")
    monkeypatch.setattr(ks.NofM, "why_not", lambda self, shape: "it has odd axes")
    with pytest.raises(ValueError, match=r"it has odd axes. Received: .*'toy/hidden/kernel'"):
        masks(0.5)


def test_as_many_weights_as_move_the_loss_may_be_active():
    x, y = np.eye(4, 8), toy_data()[1][:4]  # four of eight inputs are never but 0
    masks = ks.snip_masks(toy_model(), x, y, 0.5, loss="mse", dense="head")  # without a warning
    np.testing.assert_array_equal(masks["toy/hidden/kernel"][:, 0], [True] * 4 + [False] * 4)


@pytest.mark.parametrize(("wanted", "is_told"), [(2, False), (3, True), (4, False)])
def test_more_active_weights_than_scores_are_told_unless_all_are_active(wanted, is_told):
    scores = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 2.0])}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        masks = sensitivity_masks(scores, wanted, Weights())
    assert sum(int(mask.sum()) for mask in masks) == wanted
    assert [str(one.message)[:14] for one in told] == ["Only 2 weights"] * is_told
