"""One-call pruning: which weights stay, who holds the masks, and what comes after."""

import keras
import numpy as np
import pytest
from helpers import array, built, compiled, fit, numbered, sgd, toy_model

import keras_sparse as ks

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"
layers = keras.layers


@backend
def test_each_layer_keeps_its_largest_weights():
    model = numbered()
    masks = ks.prune(model, 0.25)
    np.testing.assert_array_equal(masks[HIDDEN].reshape(-1), np.arange(1, 129) > 96)
    np.testing.assert_array_equal(masks[HEAD].reshape(-1), np.arange(1, 65) > 48)
    np.testing.assert_array_equal(array(model.get_layer("hidden").kernel) != 0, masks[HIDDEN])
    assert ks.density(model) == 0.25


@backend
def test_missing_weights_are_positive_zeros():
    model = numbered()
    masks = ks.prune(model, 0.25)
    missing = array(model.get_layer("head").kernel)[~masks[HEAD]]
    assert not missing.any()
    assert not np.signbit(missing).any()


@backend
def test_all_layers_compete_and_none_is_empty():
    masks = ks.prune(numbered(), 0.25, scope="global")
    assert (int(masks[HIDDEN].sum()), int(masks[HEAD].sum())) == (1, 47)
    assert masks[HIDDEN][-1, -1]


def test_a_distribution():
    masks = ks.prune(numbered(), 0.25, distribution={"hidden": 0.5})
    assert (int(masks[HIDDEN].sum()), int(masks[HEAD].sum())) == (64, 16)
    erk = ks.prune(numbered(), 0.25, distribution="erk")
    assert [int(mask.sum()) for mask in erk.values()] == ks.density.erdos_renyi_kernel(
        [(8, 16), (16, 4)], 0.25
    )


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_blocks_are_kept_as_a_whole(scope):
    masks = ks.prune(numbered(), 0.25, block_shape=(4, 4), scope=scope)
    for mask in masks.values():
        ks.Blocks(4, 4).check_whole("mask", mask)
    assert sum(int(mask.sum()) for mask in masks.values()) == 48
    assert masks[HEAD].any()
    assert masks[HIDDEN].any()


def test_blocks_of_several_sizes_compete_by_their_means():
    body = [
        keras.Input((6, 6, 4)),
        layers.Conv2D(4, 3, name="conv"),
        layers.Flatten(),
        layers.Dense(4, name="head"),
    ]
    model = keras.Sequential(body, name="net")
    model.get_layer("conv").kernel.assign(np.full((3, 3, 4, 4), 2.0))
    model.get_layer("head").kernel.assign(np.ones((64, 4)))
    masks = ks.prune(model, 0.4, block_shape=(2, 2), scope="global")
    assert masks["net/conv/kernel"].all()
    assert abs(sum(int(mask.sum()) for mask in masks.values()) - 160) <= 2


def test_what_is_named_dense_stays():
    model = numbered()
    assert list(ks.prune(model, 0.25, dense="head")) == [HIDDEN]
    assert array(model.get_layer("head").kernel).all()


def test_frozen_layers_stay():
    model = numbered()
    model.get_layer("hidden").trainable = False
    assert list(ks.prune(model, 0.25)) == [HEAD]
    assert array(model.get_layer("hidden").kernel).all()
    model.trainable = False
    with pytest.raises(
        ValueError, match="`model` must have trainable weights: build it, or unfreeze"
    ):
        ks.prune(model, 0.25)


def test_pruned_again_it_has_fewer_of_the_same_weights():
    model = toy_model()
    first = ks.prune(model, 0.5)
    second = ks.prune(model, 0.25)
    assert all(not (second[path] & ~first[path]).any() for path in first)
    assert ks.density(model) == 0.25
    with pytest.warns(
        UserWarning,
        match="pruning adds no weights: 0.2500 of its weights are active. Received: density=0.5",
    ):
        ks.prune(model, 0.5)


def test_sparse_layers_take_the_masks():
    model = ks.sparsify(numbered())
    masks = ks.prune(model, 0.25)
    np.testing.assert_array_equal(array(model.get_layer("hidden").mask), masks[HIDDEN])
    assert float(array(model.get_layer("hidden").kernel_mask.mask_density)) == 0.25


def test_the_optimizer_takes_the_masks_and_keeps_them():
    model = built(density=0.5)
    masks = ks.prune(model, 0.25)
    assert model.optimizer.total_density() == 0.25
    np.testing.assert_array_equal(model.optimizer.masks[HIDDEN], masks[HIDDEN])


def test_fine_tuning_keeps_the_masks():
    model = toy_model()
    masks = ks.prune(model, 0.25)
    compiled(ks.StaticSparsity(sgd(), 0.25, initial_masks="nonzero"), model)
    fit(model, ks.UpdateMasks(), epochs=2)
    for path, mask in model.optimizer.masks.items():
        np.testing.assert_array_equal(mask, masks[path])
    assert ks.density(model) == 0.25


def test_a_random_score_follows_the_seed():
    one, same, other = (
        ks.prune(numbered(), 0.25, score="random", seed=seed)[HIDDEN] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    both = ks.prune(numbered(), 0.25, scope="global", score="random", seed=1)
    assert sum(int(mask.sum()) for mask in both.values()) == 48


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"density": 1.5}, "`density` must be in"),
        ({"scope": "all"}, "`scope` must be .layer. or .*Received: scope='all'"),
        (
            {"scope": "global", "distribution": "erk"},
            'With `scope="global"`.*leave out `distribution`',
        ),
        ({"score": "momentum"}, "`score` must rank weights by their values"),
        ({"score": None}, "`score` must rank"),
        ({"dense": "nothing"}, "`dense` selects no"),
        ({"block_shape": (3, 0)}, "`block_shape` must be None or two positive integers"),
    ],
)
def test_what_cannot_work_changes_nothing(arguments, message):
    model = numbered()
    with pytest.raises(ValueError, match=message):
        ks.prune(model, **{"density": 0.25, **arguments})
    assert ks.density(model) == 1.0


def test_blocks_must_be_those_of_the_optimizer():
    with pytest.raises(
        ValueError, match="`block_shape` must be that of the model's SparseMomentum"
    ):
        ks.prune(built(block_shape=(4, 4)), 0.25, block_shape=(2, 2))


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_weights_that_are_nan_are_refused_by_name_and_nothing_is_changed(scope):
    model = toy_model()
    weights = model.get_layer("hidden").get_weights()
    weights[0][0, 0] = np.nan
    model.get_layer("hidden").set_weights(weights)
    with pytest.raises(ValueError, match="NaN in .*hidden"):
        ks.prune(model, 0.25, scope=scope)
    np.testing.assert_array_equal(model.get_layer("hidden").get_weights()[0], weights[0])
