"""A small network of a convolution and a dense layer, for tests of sparse layers."""

import keras
import numpy as np

import keras_sparse as ks

INPUTS = np.random.default_rng(0).normal(size=(4, 8, 8, 16)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(4, 16)).astype("float32")


def network(conv=ks.layers.SparseConv2D, dense=ks.layers.SparseDense, **settings):
    """2320 weights in a convolution, 6928 in a dense layer."""
    layers = [
        keras.Input((8, 8, 16)),
        conv(12, 3, strides=2, padding="same", name="conv", **settings),
    ]
    return keras.Sequential(
        [*layers, keras.layers.Flatten(), dense(16, activation="tanh", name="dense", **settings)],
        name="net",
    )


def random_mask(shape, density=0.25):
    return np.random.default_rng(2).random(shape) < density


def predict(model):
    return model.predict(INPUTS, verbose=0)


def train(model, optimizer, steps=1):
    model.compile(optimizer, "mse")
    model.fit(INPUTS, TARGETS, epochs=steps, verbose=0)


def sparse_momentum(**settings):
    return ks.SparseMomentum(keras.optimizers.SGD(0.05, momentum=0.9), 0.25, **settings)
