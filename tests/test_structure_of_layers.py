"""The structure of a layer's masks is the same on every device."""

import keras
import numpy as np
import pytest
from oracle import needs_ops
from test_gpu import conv

import keras_sparse as ks

pytestmark = needs_ops


def network():
    inputs = keras.Input((8, 8, 3))
    hidden = keras.layers.Conv2D(32, 3, name="first")(inputs)
    hidden = keras.layers.Conv2D(64, 3, name="second")(hidden)
    return keras.Model(inputs, keras.layers.Dense(10, name="last")(keras.layers.Flatten()(hidden)))


def shapes(model):
    return {
        layer.name: layer.block_shape
        for layer in model.layers
        if isinstance(layer, ks.layers.SparseLayer)
    }


def test_sparsify_gives_it_to_every_layer():
    model = ks.sparsify(network(), block_shape=(32, 32))
    assert shapes(model) == dict.fromkeys(("first", "second", "last"), (32, 32))
    assert type(ks.densify(model).get_layer("second")) is keras.layers.Conv2D


def test_layers_take_that_of_the_optimizer():
    model = ks.sparsify(network())
    optimizer = ks.SparseMomentum(
        keras.optimizers.SGD(0.1, momentum=0.9),
        density=0.5,
        block_shape=(16, 32),
        dense=["first", "last"],
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(
        np.zeros((2, 8, 8, 3)), np.zeros(2), epochs=2, verbose=0, callbacks=[ks.UpdateMasks()]
    )
    assert shapes(model) == {"first": None, "second": (16, 32), "last": None}
    assert shapes(ks.sparsify(ks.densify(model), block_shape=(16, 32)))["second"] == (16, 32)


def test_another_one_of_the_optimizer_is_refused():
    model = ks.sparsify(network(), block_shape=(32, 32))
    optimizer = ks.SparseMomentum(
        keras.optimizers.SGD(0.1, momentum=0.9), density=0.5, dense=["first", "last"]
    )
    model.compile(optimizer, "sparse_categorical_crossentropy")
    with pytest.raises(
        ValueError,
        match=r"block_shape=None, and block_shape=\(32, 32\) of the layer with the kernel .*"
        r"second/kernel",
    ):
        optimizer.build(model.trainable_variables)


def test_it_is_saved_and_loaded(tmp_path):
    model = ks.sparsify(network(), block_shape=(32, 32))
    model.save(tmp_path / "model.keras")
    assert shapes(keras.models.load_model(tmp_path / "model.keras")) == shapes(model)


def test_it_need_not_divide_the_channels():
    layer = conv("float32", (32, 32), channels=48)
    assert layer.structure.grid(layer.mask.shape) == (2, 2)
