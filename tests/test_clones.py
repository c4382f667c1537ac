"""A clone of a compiled model has no masks until it trains: its weights come later."""

import keras
import numpy as np
import pytest
from helpers import array
from oracle import needs_ops
from steps_by_hand import go_on, training_by_hand

import keras_sparse as ks
from keras_sparse._keras import to_numpy

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(64, 32)).astype("float32")
TARGETS = RNG.normal(size=(64, 4)).astype("float32")
IMPLEMENTATIONS = [pytest.param("custom_op", marks=needs_ops), "stock"]


def trained(implementation, **settings):
    layers = [keras.layers.Dense(48, "relu"), keras.layers.Dense(4)]
    model = keras.Sequential([keras.Input((32,)), *layers])
    if implementation is not None:
        model = ks.sparsify(model, implementation=implementation, verbose=False)
    inner = keras.optimizers.SGD(0.05, momentum=0.9)
    model.compile(ks.SparseMomentum(inner, 0.2, seed=0, **settings), "mse", jit_compile=False)
    assert list(training_by_hand(model.optimizer, model, steps=6, every=2)) == [0, 2, 4]
    return model


def fit(model):
    model.fit(ROWS, TARGETS, 16, verbose=0, callbacks=[ks.UpdateMasks(every=2)])


def clone_of(model):
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    return clone


def actives(model):
    return [to_numpy(layer.kernel) != 0 for layer in model.layers]


@pytest.mark.parametrize("implementation", [None, *IMPLEMENTATIONS])
def test_a_clone_with_the_weights_predicts_the_same(implementation, tmp_path):
    model = trained(implementation)
    expected = array(model(ROWS))
    clone = clone_of(model)
    np.testing.assert_array_equal(array(clone(ROWS)), expected)
    clone.save(tmp_path / "clone.keras")
    loaded = keras.saving.load_model(tmp_path / "clone.keras")
    np.testing.assert_allclose(loaded.predict(ROWS, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("implementation", [None, *IMPLEMENTATIONS])
def test_its_first_masks_are_of_the_weights_that_it_was_given(implementation):
    model = trained(implementation, initial_masks="magnitude", prune_rate=0.0)
    clone = clone_of(model)
    fit(clone)
    for one, other in zip(actives(clone), actives(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_random_masks_over_its_trained_weights_warn():
    clone = clone_of(trained("stock"))
    with pytest.warns(UserWarning, match="A random mask over trained weights"):
        fit(clone)
    assert sum(map(np.sum, actives(clone))) <= 0.2 * (32 * 48 + 48 * 4) + 1


def built_and_gone_on(model):
    model.optimizer.build(model)
    go_on(model)


@pytest.mark.parametrize(
    ("implementation", "train"),
    [pytest.param("custom_op", built_and_gone_on, marks=needs_ops), ("stock", fit)],
)
def test_a_checkpoint_brings_it_masks(implementation, train, tmp_path):
    import tensorflow as tf

    model = trained(implementation)
    clone = keras.models.clone_model(model)
    path = str(tmp_path / "checkpoint")
    tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(path)
    tf.train.Checkpoint(model=clone, optimizer=clone.optimizer).read(path).expect_partial()
    np.testing.assert_array_equal(array(clone(ROWS)), array(model(ROWS)))
    train(model)
    train(clone)
    for one, other in zip(model.get_weights(), clone.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert list(clone.optimizer.masks) == list(model.optimizer.masks)
