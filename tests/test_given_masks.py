"""Masks of the user's own as the first ones."""

import json

import keras
import numpy as np
import pytest
from helpers import (
    active,
    array,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sgd,
    toy_data,
    toy_model,
)

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def given():
    """A quarter of each layer of the toy model: 32 of 128 and 16 of 64 weights."""
    hidden, head = np.zeros((8, 16), bool), np.zeros((16, 4), bool)
    hidden[:2], head[:4] = True, True
    return {HIDDEN: hidden, HEAD: head}


@backend
@pytest.mark.parametrize("sparsify", [False, True])
def test_training_begins_with_them(sparsify):
    masks, model = given(), toy_model()
    before = array(model.get_layer("hidden").kernel)
    model = ks.sparsify(model, verbose=False) if sparsify else model
    model = compiled(ks.SparseMomentum(sgd(), 0.25, initial_masks=masks), model)
    masks[HIDDEN] = ~masks[HIDDEN]  # the optimizer has its own
    model.optimizer.build(model)
    assert_same(list(model.optimizer.masks.values()), list(given().values()))
    kernel = array(model.get_layer("hidden").kernel)
    np.testing.assert_array_equal(kernel, before * given()[HIDDEN])  # not scaled
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


def test_static_masks_in_a_loop_of_ones_own():
    model = toy_model()
    masks = ks.snip_masks(model, *toy_data(), 0.25, loss="mse")
    optimizer = ks.StaticSparsity(sgd(), 0.25, initial_masks=masks)
    optimizer.build(model)
    model.compile(optimizer, "mse")
    for _ in range(3):
        model.train_on_batch(*toy_data())
    assert_same(list(optimizer.masks.values()), list(masks.values()))
    assert_sparse(model, count=48)


def test_the_callback_takes_them():
    model = compiled(sgd())
    fit(model, ks.UpdateMasks(density=0.25, initial_masks=given()))
    assert active(model.optimizer) == 48


@backend
def test_config_and_files_hold_them(tmp_path):
    optimizer = ks.SparseMomentum(sgd(), 0.25, initial_masks=given())
    config = json.loads(json.dumps(optimizer.get_config()))
    model = compiled(ks.SparseMomentum.from_config(config))
    model.optimizer.build(model)
    model.save(tmp_path / "new.keras")
    model = keras.models.load_model(tmp_path / "new.keras")  # whose paths have lost "toy/"
    assert model.weights[0].path == "hidden/kernel"
    assert_same(list(model.optimizer.masks.values()), list(given().values()))
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "old.keras")
    loaded = keras.models.load_model(tmp_path / "old.keras")
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))


def test_large_masks_fit_into_h5_files(tmp_path, recwarn):
    masks = {"wide/kernel": np.random.default_rng(0).random((1024, 1024)) < 0.25}
    model = keras.Sequential([keras.Input((1024,)), keras.layers.Dense(1024, name="wide")])
    density = masks["wide/kernel"].mean()
    path = model.weights[0].path
    model.compile(
        ks.StaticSparsity("sgd", density, initial_masks={path: masks["wide/kernel"]}),
        keras.losses.MeanSquaredError(),
    )
    model.optimizer.build(model)
    model.save(tmp_path / "model.h5")
    loaded = keras.models.load_model(tmp_path / "model.h5")
    loaded.optimizer.build(loaded)
    assert_same(list(loaded.optimizer.masks.values()), list(masks.values()))


def test_masks_that_cannot_be_are_told_at_construction():
    def make(masks):
        return ks.SparseMomentum(sgd(), 0.25, initial_masks=masks)

    with pytest.raises(TypeError, match="bool arrays. Received: 'toy/hidden/kernel'.*float64"):
        make({HIDDEN: np.ones((8, 16))})
    with pytest.raises(TypeError, match="map paths of weights to bool arrays. Received: 0"):
        make({0: np.ones((8, 16), bool)})
    with pytest.raises(ValueError, match="must have an active weight. Received: 'toy/head/kernel'"):
        make({**given(), HEAD: np.zeros((16, 4), bool)})
    with pytest.raises(ValueError, match="must hold masks. Received: initial_masks={}"):
        make({})
    with pytest.raises(ValueError, match=r"one of .*'snip'\), or a map.*Received: initial_masks=3"):
        make(3)


@pytest.mark.parametrize(
    ("masks", "settings", "message"),
    [
        ({HIDDEN: given()[HIDDEN]}, {}, "no mask for .'toy/head/kernel'."),
        (given(), {"dense": "head"}, "masks of no such weight for .'toy/head/kernel'."),
        ({HIDDEN: given()[HIDDEN], "toy/haed/kernel": given()[HEAD]}, {}, "toy/haed/kernel"),
        (given() | {HEAD: np.eye(4, dtype=bool)}, {}, r"'toy/head/kernel'.*\(16, 4\).*\(4, 4\)"),
        (given(), {"density": 0.5}, "`density` must be that of `initial_masks`, 0.25 .*0.5, 96"),
        (given(), {"block_shape": (4, 4)}, "'toy/hidden/kernel' is not made of whole blocks"),
    ],
)
def test_masks_that_do_not_fit_are_told_by_name(masks, settings, message):
    arguments = {"density": 0.25, "initial_masks": masks, **settings}
    model = compiled(ks.SparseMomentum(sgd(), **arguments))
    with pytest.raises(ValueError, match=message):
        model.optimizer.build(model)


def test_masks_of_weights_of_one_path():
    def part(name):
        return keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="d")], name=name)

    inputs = keras.Input((8,))
    model = keras.Model(inputs, part("b")(part("a")(inputs)))
    for index, layer in enumerate(model.layers[1:]):
        layer.layers[0].kernel.assign(array(layer.layers[0].kernel) * (index + 1))
    masks = ks.snip_masks(model, *toy_data(outputs=8), 0.25, loss="mse")
    assert len(masks) == 2
    model.compile(ks.StaticSparsity(sgd(), 0.25, initial_masks=masks), "mse")
    model.optimizer.build(model)
    assert_same(list(model.optimizer.masks.values()), list(masks.values()))
