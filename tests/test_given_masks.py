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
from keras_sparse.rules.given_masks import GivenMasks, check_given
from keras_sparse.rules.structure_arguments import as_structure

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


EYE, ONES = np.eye(4, dtype=bool), np.ones((4, 4), bool)


def masks_of(*paths):
    return GivenMasks(dict(zip(paths, [EYE, ONES], strict=False)))


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a/kernel", "b/kernel"), ("b/kernel", "a/kernel")),
        (("net/a/kernel", "net/b/kernel"), ("b/kernel", "a/kernel")),  # of a loaded model
        (("a/kernel", "b/kernel"), ("net/b/kernel", "net/a/kernel")),
        (("a/kernel", "net/a/kernel"), ("net/a/kernel", "a/kernel")),  # its own comes first
    ],
)
def test_masks_are_found_by_the_ends_of_paths(paths, names):
    found = masks_of(*paths).of(names, [(4, 4)] * 2)
    assert_same(found, [ONES, EYE])


@pytest.mark.parametrize(
    ("paths", "names", "missing", "unused"),
    [
        (("a/kernel",), ("aa/kernel",), ["aa/kernel"], ["a/kernel"]),  # ends of names are no names
        (("x/a/kernel", "y/a/kernel"), ("a/kernel",), ["a/kernel"], ["x/a/kernel", "y/a/kernel"]),
        (("a/kernel",), ("x/a/kernel", "y/a/kernel"), ["x/a/kernel", "y/a/kernel"], []),
        (("a/kernel",), ("a/kernel", "x/a/kernel"), ["a/kernel", "x/a/kernel"], []),
    ],
)
def test_a_mask_that_may_be_of_another_weight_is_refused(paths, names, missing, unused):
    with pytest.raises(ValueError, match="a mask for each weight that gets one") as caught:
        masks_of(*paths).of(names, [(4, 4)] * len(names))
    assert f"no mask for {missing}; masks of no such weight for {unused}" in str(caught.value)


def test_masks_are_equal_by_paths_and_values_and_show_their_density():
    assert masks_of("a") == masks_of("a")
    assert masks_of("a") != masks_of("b")
    assert GivenMasks({"a": EYE}) != GivenMasks({"a": ONES})
    assert masks_of("a") != {"a": EYE}
    assert repr(masks_of("a", "b")) == "<2 masks, density 0.625>"  # 20 of 32


@pytest.mark.parametrize(
    ("active", "nearest", "costs", "block_shape"),
    [
        ([202], 200, None, None),  # 1 % may be rounded otherwise
        ([11], 10, None, None),  # or a weight in each layer
        ([11, 11], 20, None, None),
        ([32], 17, None, (4, 4)),  # or less than a block of 16
        ([10, 10], 38, [1, 3], None),  # of 40; or less than the dearest weight costs
        ([10, 10], 101, [1, 10], None),  # of 110
    ],
)
def test_the_density_is_that_of_the_masks_up_to_rounding(active, nearest, costs, block_shape):
    masks = [np.arange(400).reshape(100, 4) < number for number in active]  # rows of 4
    names, structure = ["a", "b"][: len(masks)], as_structure(block_shape)
    check_given(names, masks, nearest, structure, costs)
    counted = "active weights" if costs is None else "multiply-adds"
    with pytest.raises(ValueError, match=f"Received: .* {nearest - 1} {counted}, for .'a'"):
        check_given(names, masks, nearest - 1, structure, costs)


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
