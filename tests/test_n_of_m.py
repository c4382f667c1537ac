"""Masks of n of m: at most n of m neighbouring inputs of each output are active."""

import json

import keras
import numpy as np
import pytest
from helpers import (
    assert_masks_hold,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sgd,
    toy_data,
    toy_model,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_sparse as ks
from keras_sparse.rules import scores
from keras_sparse.rules.found_structure import found_structure
from keras_sparse.rules.initial_masks import initial_mask
from keras_sparse.rules.mask_update import prune_to, update_masks
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.reconciled_masks import reconcile
from keras_sparse.rules.structure_arguments import as_structure
from keras_sparse.rules.whole_groups import to_whole_groups

backend = pytest.mark.backend
TWO_OF_FOUR = ks.NofM(2, 4)
HEAD = "toy/head/kernel"


def fullest(mask, m):
    """Active weights of the fullest run."""
    runs = [mask[..., i : i + m, :].sum(axis=-2) for i in range(0, mask.shape[-2], m)]
    return max(int(run.max()) for run in runs)


def best(values, structure, among, kept, count):
    """Weight by weight: the largest value of which the run has room."""
    mask, added = kept.copy(), np.zeros(values.shape, bool)
    for flat in np.argsort(-values, axis=None, kind="stable"):
        place = np.unravel_index(flat, values.shape)
        begin = place[-2] // structure.m * structure.m
        run = (*place[:-2], slice(begin, begin + structure.m), place[-1])
        if added.sum() < count and among[place] and mask[run].sum() < structure.n:
            mask[place] = added[place] = True
    return added


@st.composite
def kernels(draw):
    """(structure, random generator, shape): the last run may have fewer inputs."""
    m = draw(st.integers(2, 5))
    structure = ks.NofM(draw(st.integers(1, m - 1)), m)
    taps = draw(st.sampled_from([(), (3,), (2, 2)]))
    shape = (*taps, draw(st.integers(1, 11)), draw(st.integers(1, 5)))
    return structure, np.random.default_rng(draw(st.integers(0, 2**32 - 1))), shape


# --- the structure


def test_the_last_run_has_the_inputs_that_are_left():
    assert TWO_OF_FOUR.most_weights((3, 3, 8, 5)) == 9 * 4 * 5
    assert [ks.NofM(2, 4).most_weights((n, 1)) for n in (1, 2, 3, 4, 5, 7)] == [1, 2, 2, 2, 3, 4]


@given(kernels(), st.sampled_from([1, 8]))
@settings(max_examples=80, deadline=None)
def test_the_best_that_runs_have_room_for(kernel, decimals):
    structure, rng, shape = kernel
    values = np.round(rng.normal(size=shape), decimals)  # few decimals: ties
    nothing = np.zeros(shape, bool)
    kept = best(rng.random(shape), structure, rng.random(shape) < 0.3, nothing, values.size)
    among = ~kept & (rng.random(shape) < 0.7)
    eligible = structure.eligible(values, among, kept)
    np.testing.assert_array_equal(eligible, best(values, structure, among, kept, values.size))
    assert not (eligible & ~among).any()


def test_it_comes_back_from_its_config():
    config = json.loads(json.dumps(ks.NofM(np.int64(2), 4).get_config()))
    assert config == {"kind": "n_of_m", "n": 2, "m": 4}
    assert as_structure(structure=config) == TWO_OF_FOUR != ks.NofM(1, 4)
    assert str(TWO_OF_FOUR) == "structure=NofM(2, 4)"
    assert TWO_OF_FOUR.as_arguments() == {"block_shape": None, "structure": config}


@pytest.mark.parametrize("numbers", [(4, 4), (0, 4), (2, 0), (2.0, 4), (True, 4), (5, 4)])
def test_numbers_that_cannot_be_raise(numbers):
    with pytest.raises(ValueError, match=r"`n` and `m` must be positive integers, n below m"):
        ks.NofM(*numbers)


def test_fuller_masks_raise():
    mask = np.zeros((8, 2), bool)
    mask[:3, 1] = True
    with pytest.raises(ValueError, match=r"'k' must have at most 2 .* Received: 1 of 4 runs"):
        TWO_OF_FOUR.check_mask("k", mask)


# --- rules


@given(kernels(), st.floats(0, 1), st.booleans())
@settings(max_examples=80, deadline=None)
def test_an_update_keeps_the_runs_and_the_number_of_weights(kernel, rate, by_share):
    structure, rng, shape = kernel
    layers = []
    for part in (1.0, rng.random()):  # a full layer, and one with room
        number = max(1, int(part * structure.most_weights(shape)))
        mask = initial_mask("random", "k", np.zeros(shape), number, structure, rng)
        assert mask.sum() == number
        weight, momentum = rng.normal(size=(2, *shape))
        layers.append(MaskedLayer("k", weight * mask, mask, momentum, structure=structure))
    share = scores.SHARES["mean_momentum"] if by_share else None
    masks = update_masks(layers, rate, scores.magnitude, share, scores.SCORES["momentum"], rng)
    for mask in masks:
        structure.check_mask("k", mask)
    assert sum(mask.sum() for mask in masks) == sum(layer.mask.sum() for layer in layers)
    if not by_share:
        assert [mask.sum() for mask in masks] == [layer.mask.sum() for layer in layers]


def test_what_runs_lose_grows_in_them():
    mask = np.array([[1, 1, 0, 0, 1, 1, 0, 0]], bool).T
    weight = np.array([[1.0, 5, 0, 0, 4, 2, 0, 0]]).T
    momentum = np.array([[0.0, 0, 1, 2, 0, 0, 9, 8]]).T
    layer = MaskedLayer("k", weight, mask, momentum, structure=TWO_OF_FOUR)
    rules = scores.magnitude, None, scores.SCORES["momentum"]
    (grown,) = update_masks([layer], 0.5, *rules, np.random.default_rng(0))
    # 1.0 and 2.0 are pruned, one in each run: 8 has no room beside 9
    np.testing.assert_array_equal(grown[:, 0], np.array([0, 1, 0, 1, 1, 0, 1, 0], bool))


def test_an_update_of_a_fuller_mask_raises():
    layer = MaskedLayer("k", np.ones((4, 2)), np.ones((4, 2), bool), structure=TWO_OF_FOUR)
    rules = scores.magnitude, None, scores.magnitude
    with pytest.raises(ValueError, match="'k' must have at most 2 active weights"):
        update_masks([layer], 0.5, *rules, np.random.default_rng(0))


def test_a_dense_layer_is_pruned_to_the_best_of_each_run():
    weight = np.array([[9.0, 8, 7, 6, 1, 4, 3, 2]]).T
    layer = MaskedLayer("k", weight, np.ones((8, 1), bool), structure=TWO_OF_FOUR)
    for count, expected in ((8, [1, 1, 0, 0, 0, 1, 1, 0]), (3, [1, 1, 0, 0, 0, 1, 0, 0])):
        (mask,) = prune_to([layer], [count], scores.magnitude, np.random.default_rng(0))
        np.testing.assert_array_equal(mask[:, 0], np.array(expected, bool))


def test_a_layer_gets_no_more_than_it_may_have():
    assert to_whole_groups([60, 20], [(8, 8), (8, 8)], TWO_OF_FOUR) == [32, 32]
    assert to_whole_groups([40, 8], [(8, 8), (8, 8)], TWO_OF_FOUR) == [32, 16]


def test_weights_that_are_put_back_bring_masks_of_their_runs():
    mask = np.array([[1, 1, 0, 0, 1, 1, 0, 0]], bool).T
    weight = np.array([[0.0, 0, 1, 1, 0, 0, 0, 0]]).T
    (found,) = reconcile(["k"], [weight], [mask], TWO_OF_FOUR)
    np.testing.assert_array_equal(found[:, 0], np.array([0, 0, 1, 1, 1, 1, 0, 0], bool))


# --- in training


@backend
@pytest.mark.parametrize("convert", [lambda model: model, ks.sparsify], ids=["keras", "sparse"])
@pytest.mark.parametrize(
    "rules", [{}, {"grow": "random", "redistribute": None}, {"distribution": "erk"}]
)
def test_two_of_four_in_every_step(convert, rules):
    optimizer = ks.SparseMomentum(sgd(), 0.5, structure=TWO_OF_FOUR, seed=0, **rules)
    model = compiled(optimizer, convert(toy_model()))
    fit(model, ks.UpdateMasks())
    assert_masks_hold(model.optimizer)
    for mask in model.optimizer.masks.values():
        assert found_structure(mask) == "2:4 along inputs"
        assert mask.sum() == mask.size // 2


def test_below_their_largest_density_layers_share_as_always():
    optimizer = ks.SparseMomentum(sgd(), 0.25, structure=TWO_OF_FOUR, seed=0)
    model = compiled(optimizer)
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)
    assert all(fullest(mask, 4) <= 2 for mask in optimizer.masks.values())


def test_multiply_adds_are_never_more_than_the_budget():
    layers = [keras.Input((6, 6, 3)), keras.layers.Conv2D(8, 3), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(4)])
    optimizer = ks.SparseMomentum(
        sgd(), 0.4, structure=ks.NofM(1, 2), budget="multiply_adds", seed=0
    )
    model = compiled(optimizer, model)
    fit(model, ks.UpdateMasks(), data=toy_data((6, 6, 3)))
    convolution, dense = optimizer.masks.values()
    assert fullest(convolution, 2) <= 1
    assert fullest(dense, 2) <= 1
    spent, budget = 16 * convolution.sum() + dense.sum(), 0.4 * (16 * 216 + 512)
    assert budget - 16 < spent <= budget


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_trained_model_is_pruned_to_the_best_of_each_run(scope):
    model = ks.sparsify(toy_model())
    masks = ks.prune(model, 0.5, scope=scope, structure=TWO_OF_FOUR)
    for layer, mask in zip(model.layers, masks.values(), strict=True):
        runs = mask.reshape(-1, 4, mask.shape[-1])
        assert (runs.sum(axis=1) == 2).all()
        assert layer.structure == TWO_OF_FOUR
    optimizer = ks.StaticSparsity(sgd(), 0.5, initial_masks="nonzero", structure=TWO_OF_FOUR)
    fit(compiled(optimizer, model))
    for mask, kept in zip(optimizer.masks.values(), masks.values(), strict=True):
        np.testing.assert_array_equal(mask, kept)


def test_snip_gives_masks_of_runs():
    x, y = toy_data()
    masks = ks.snip_masks(toy_model(), x, y, 0.3, loss="mse", structure=TWO_OF_FOUR)
    assert sum(mask.sum() for mask in masks.values()) == round(0.3 * 192)
    assert all(fullest(mask, 4) <= 2 for mask in masks.values())


def test_a_model_comes_back_from_its_file(tmp_path):
    optimizer = ks.SparseMomentum(sgd(), 0.5, structure=TWO_OF_FOUR, seed=0)
    model = compiled(optimizer, ks.sparsify(toy_model(), structure=TWO_OF_FOUR))
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.structure == loaded.layers[0].structure == TWO_OF_FOUR
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))
    fit(loaded, ks.UpdateMasks())
    assert_masks_hold(loaded.optimizer)


# --- what is refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda **s: ks.SparseMomentum("sgd", 0.6, **s), "density=0.6"),
        (lambda **s: ks.SparseMomentum("sgd", 0.4, distribution={"*": 0.7}, **s), "0.7"),
        (lambda **s: ks.GradualPruning("sgd", 0.5, **s), "density=1.0"),
        (lambda **s: ks.ACDC("sgd", 0.5, **s), "density=1.0"),
        (lambda **s: ks.prune(toy_model(), 0.6, **s), "density=0.6"),
    ],
)
def test_a_density_that_no_mask_has_raises(make, message):
    with pytest.raises(ValueError, match=rf"must be at most 0.5 with structure.*{message}"):
        make(structure=TWO_OF_FOUR)


def test_masks_of_other_structures_raise():
    optimizer = ks.StaticSparsity(sgd(), 0.5, structure=TWO_OF_FOUR, initial_masks="nonzero")
    with pytest.raises(ValueError, match="'toy/hidden/kernel' must have at most 2 active"):
        fit(compiled(optimizer))
    model = compiled(ks.SparseMomentum(sgd(), 0.5, structure=TWO_OF_FOUR))
    fit(model, ks.UpdateMasks())
    with pytest.raises(ValueError, match="'toy/head/kernel' must have at most 2 active"):
        model.optimizer.set_masks({HEAD: np.ones((16, 4), bool)})
