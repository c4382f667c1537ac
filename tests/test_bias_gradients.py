"""The gradient of a bias in bfloat16 is summed in float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_sparse as ks

L = ks.layers
POLICY = "mixed_bfloat16"
LAYERS = {
    "dense": (lambda **k: L.SparseDense(16, **k), (4096, 8)),
    "dense of sequences": (lambda **k: L.SparseDense(16, **k), (64, 64, 8)),
    "convolution": (lambda **k: L.SparseConv2D(16, 1, **k), (16, 16, 16, 8)),
    "1D convolution": (lambda **k: L.SparseConv1D(16, 1, **k), (64, 64, 8)),
    "transposed": (lambda **k: L.SparseConv2DTranspose(16, 1, **k), (16, 16, 16, 8)),
    "Keras' own": (lambda implementation, **k: keras.layers.Dense(16, **k), (4096, 8)),
}


@pytest.mark.parametrize("implementation", ["custom_op", "stock"])
@pytest.mark.parametrize("name", list(LAYERS))
def test_4096_ones_are_4096(name, implementation):
    """A sum in bfloat16 stays at 256, to which it cannot add 1."""
    make, shape = LAYERS[name]
    layer = make(implementation=implementation, dtype=POLICY)
    inputs = tf.ones(shape, "bfloat16")
    layer(inputs)

    @tf.function(autograph=False)
    def gradient(inputs):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(inputs))
        return tape.gradient(total, layer.bias.value)

    np.testing.assert_array_equal(gradient(inputs), np.full(16, 4096.0))


@pytest.mark.parametrize("kind", [L.SparseLSTM, L.SparseGRU, L.SparseSimpleRNN])
def test_a_bias_in_a_loop(kind):
    """The constants of a sum are in the loop, too."""
    layer, inputs = kind(4, implementation="custom_op", dtype=POLICY), tf.ones((2, 3, 8))

    def gradient(inputs):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(layer(inputs))
        return tape.gradient(total, layer.cell.bias.value)

    eager = gradient(inputs)
    found = tf.function(gradient, autograph=False)(inputs)
    np.testing.assert_allclose(found, eager, rtol=0.05, atol=0.01)


def test_training_in_bfloat16_moves_a_bias_as_far_as_in_float32():
    biases = []
    for policy in (POLICY, "float32"):
        layer = L.SparseDense(4, implementation="custom_op", dtype=policy)
        model = keras.Sequential([keras.Input((8,)), layer, keras.layers.Activation("linear")])
        model.compile(keras.optimizers.SGD(0.5), loss=lambda y, outputs: tf.reduce_sum(y * outputs))
        model.train_on_batch(np.zeros((1024, 8)), np.ones((1024, 4)))
        biases.append(layer.bias.numpy())
    np.testing.assert_array_equal(biases[0], biases[1])
    np.testing.assert_array_equal(biases[0], np.full(4, -512.0))
