"""Blocks per tap in training, layers, conversion, pruning and files."""

import json

import keras
import numpy as np
import pytest
from helpers import active, assert_same, assert_sparse, compiled, fit, sgd, sparse, toy_data
from steps_by_hand import go_on, training_by_hand

import keras_sparse as ks

PER_TAP = ks.Blocks(2, 4, per_tap=True)


def network():
    """288, 576 and 32 weights: 36, 72 and 4 blocks of 8; a quarter of all are 28 blocks."""
    layers = [
        keras.layers.Conv2D(8, 3, activation="tanh", name="first"),
        keras.layers.Conv2D(8, 3, name="second"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4, name="head"),
    ]
    return keras.Sequential([keras.Input((6, 6, 4)), *layers])


def data():
    return toy_data((6, 6, 4))


def check_whole(masks):
    for path, mask in masks.items():
        PER_TAP.check_whole(path, mask)


def by_hand(model):
    for _ in training_by_hand(model.optimizer, model, steps=12, every=3):
        check_whole(model.optimizer.masks)


def by_fit(model):
    fit(model, ks.UpdateMasks(every=2), data=data())


@pytest.mark.parametrize(
    ("make", "train"),
    [
        (lambda: sparse(structure=PER_TAP), by_hand),
        (lambda: ks.RigL("sgd", 0.25, structure=PER_TAP), by_hand),
        (lambda: ks.GradualPruning(sgd(), 0.25, structure=PER_TAP), by_fit),
        (lambda: ks.GraNet("sgd", 0.25, structure=PER_TAP), by_hand),
    ],
)
def test_methods_train_masks_of_blocks_per_tap_at_the_exact_density(make, train):
    model = compiled(make(), network())
    train(model)
    check_whole(model.optimizer.masks)
    assert_sparse(model, 8 * 28)
    second = list(model.optimizer.masks.values())[1]
    assert (second.any(axis=(0, 1)) != second.all(axis=(0, 1))).any()  # taps differ


def test_sparse_layers_take_the_structure_and_files_keep_it(tmp_path):
    model = ks.sparsify(network())
    model.compile(sparse(structure=PER_TAP), "mse")
    fit(model, ks.UpdateMasks(every=2), data=data())
    first = model.get_layer("first")
    assert (first.structure, first.block_shape) == (PER_TAP, None)
    assert_same([first.mask.numpy()], [next(iter(model.optimizer.masks.values()))])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert [loaded.get_layer(name).structure for name in ("first", "head")] == [PER_TAP] * 2
    assert loaded.optimizer.structure == PER_TAP
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    go_on(loaded)
    check_whole(loaded.optimizer.masks)
    assert active(loaded.optimizer) == 8 * 28


def test_masks_of_blocks_per_tap_are_refused_by_blocks_over_all_taps(tmp_path):
    model = compiled(sparse(structure=PER_TAP), network())
    model.optimizer.build(model)
    model.save_weights(tmp_path / "per_tap.weights.h5")
    other = compiled(sparse(block_shape=(2, 4)), network())
    other.optimizer.build(other)
    with pytest.raises(ValueError, match="is not made of whole blocks"):
        other.load_weights(tmp_path / "per_tap.weights.h5")


def test_an_optimizer_of_another_structure_is_refused_by_sparse_layers():
    model = ks.sparsify(network(), structure=PER_TAP)
    model.compile(sparse(block_shape=(2, 4)), "mse")
    message = r"Received: block_shape=\(2, 4\), and structure=Blocks\(2, 4, per_tap=True\) of the"
    with pytest.raises(ValueError, match=message):
        model.optimizer.build(model)


def test_sparsify_gives_the_structure_to_layers_that_it_does_not_divide_too():
    layers = [type(layer).from_config(layer.get_config()) for layer in network().layers]
    model = keras.Sequential([keras.Input((6, 6, 3)), *layers])
    structures = [
        layer.structure
        for layer in ks.sparsify(model, structure=PER_TAP, verbose=False).layers
        if hasattr(layer, "structure")
    ]
    assert structures == [PER_TAP, PER_TAP, PER_TAP]


def test_a_sparse_layer_comes_back_from_its_config():
    layer = ks.layers.SparseConv2D(8, 3, structure=PER_TAP)
    config = json.loads(json.dumps(layer.get_config()))
    assert config["block_shape"] is None
    assert ks.layers.SparseConv2D.from_config(config).structure == PER_TAP
    plain = ks.layers.SparseDense(8, block_shape=(2, 4)).get_config()
    assert plain["block_shape"] == (2, 4)
    assert "structure" not in plain  # as files of before have it


def test_prune_and_snip_make_blocks_per_tap():
    masks = ks.prune(network(), 0.25, structure=PER_TAP)
    check_whole(masks)
    assert sum(int(mask.sum()) for mask in masks.values()) == 8 * 28
    masks = ks.snip_masks(network(), *data(), 0.25, loss="mse", structure=PER_TAP)
    check_whole(masks)
    assert sum(int(mask.sum()) for mask in masks.values()) == 8 * 28


def test_prune_goes_on_with_the_structure_of_sparse_layers():
    model = ks.sparsify(network(), structure=PER_TAP)
    masks = ks.prune(model, 0.5)
    check_whole(masks)
    assert model.get_layer("first").structure == PER_TAP


def test_rules_see_the_structure_of_a_layer():
    layer = ks.MaskedLayer("k", np.ones((4, 4)), np.ones((4, 4), bool), structure=PER_TAP)
    assert layer.structure == PER_TAP
    assert layer.block_shape is None
    assert repr(layer).startswith("MaskedLayer('k', structure=Blocks(2, 4, per_tap=True), of")
