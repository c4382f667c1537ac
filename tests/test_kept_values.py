"""Predictions keep what they know of a kernel, and see each change of it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from oracle import needs_ops

import keras_sparse as ks

L = keras.layers
pytestmark = needs_ops
RNG = np.random.default_rng(0)


def network(activation=None, **settings):
    """Frozen sparse layers, and Keras' own with the same weights."""
    body = [
        L.Conv2D(24, 3, 2, "same", activation=activation, bias_initializer="normal"),
        L.Flatten(),
        L.Dense(32, activation=activation, bias_initializer="normal"),
    ]
    dense = keras.Sequential([keras.Input((9, 9, 16)), *body])
    ks.prune(dense, 0.2)
    sparse = ks.sparsify(dense, "custom_op", verbose=False, **settings)
    sparse.trainable = False
    return dense, sparse


def predicts(model):
    return tf.function(lambda x: model(x, training=False), autograph=False)


def check(predict, dense, batch):
    x = RNG.normal(size=(batch, 9, 9, 16)).astype("float32")
    wanted = dense(x, training=False)
    np.testing.assert_allclose(predict(tf.constant(x)), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"structure": ks.Blocks(4, 4, per_tap=True)}])
@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
def test_predictions_are_right_for_batches_in_turns_and_after_changes(activation, settings):
    dense, sparse = network(activation, **settings)
    if settings:
        dense = ks.densify(sparse)
    predict = predicts(sparse)
    for batch in (1, 20, 1, 1, 1, 20, 20, 3, 40, 2, 5, 1):  # more than the four that are kept
        check(predict, dense, batch)
    for _ in range(2):
        for old, new in zip(dense.layers, sparse.layers, strict=True):
            if hasattr(old, "kernel"):
                old.kernel.assign(old.kernel * 1.5)
                old.bias.assign(old.bias - 0.25)
                new.set_weights(old.get_weights())
        for batch in (1, 20, 1, 1, 20):
            check(predict, dense, batch)


def test_a_frozen_layer_in_a_training_step_computes_its_bias():
    """The kernel is large enough for a pair of products to share its values."""
    layers = [L.Dense(1024, activation="relu", bias_initializer="normal") for _ in range(3)]
    dense = keras.Sequential([keras.Input((1024,)), *layers])
    ks.prune(dense, 0.1)
    sparse = ks.sparsify(dense, "custom_op", verbose=False)
    sparse.layers[1].trainable = dense.layers[1].trainable = False
    x = tf.constant(RNG.normal(size=(64, 1024)).astype("float32"))

    @tf.function(autograph=False)
    def step(model):
        with tf.GradientTape() as tape:
            outputs = model(x, training=True)
        return outputs, tape.gradient(outputs, model.layers[0].bias.value)

    for _ in range(3):
        for wanted, found in zip(step(dense), step(sparse), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
