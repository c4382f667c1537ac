"""The mask update on arrays small enough to check by hand, and every bug of the published code."""

import numpy as np
import pytest

from keras_sparse.rules import scores
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.group_scores import active_groups
from keras_sparse.rules.mask_update import prune_to, top_k_mask, update_masks
from keras_sparse.rules.masked_layer import MaskedLayer


def layer(weight, mask, momentum=None, name="layer", **kwargs):
    weight, mask = np.asarray(weight, np.float32), np.asarray(mask, bool)
    momentum = np.zeros_like(weight) if momentum is None else np.asarray(momentum, np.float32)
    return MaskedLayer(name, weight, mask, momentum, gradient=momentum, **kwargs)


def update(
    *layers,
    prune_rate=0.5,
    prune=scores.magnitude,
    redistribute=scores.mean_momentum,
    grow=scores.momentum,
):
    return update_masks(layers, prune_rate, prune, redistribute, grow, np.random.default_rng(0))


# --- top_k_mask


def test_top_k_takes_ties_by_index():
    np.testing.assert_array_equal(
        top_k_mask(np.array([1.0, 2.0, 2.0, 2.0]), 2), [False, True, True, False]
    )


def test_top_k_among_candidates_only():
    among = np.array([True, False, True, True])
    np.testing.assert_array_equal(
        top_k_mask(np.array([1.0, 9.0, 1.0, 1.0]), 2, among), [True, False, True, False]
    )


def test_top_k_of_all_is_every_candidate():
    among = np.array([True, False, True])
    np.testing.assert_array_equal(top_k_mask(np.ones(3), 3), [True, True, True])
    np.testing.assert_array_equal(top_k_mask(np.ones(3), 2, among), among)


@pytest.mark.parametrize("k", [-1, 3])
def test_top_k_of_too_many_raises(k):
    with pytest.raises(ValueError, match=rf"`k` must be in \[0, 2\].*Received: k={k}"):
        top_k_mask(np.zeros(2), k)


# --- one update, by hand


def test_prune_and_grow_by_hand():
    weight = [0.1, -5.0, 3.0, -0.2, 0.0, 0.0, 0.0, 0.0]
    mask = [1, 1, 1, 1, 0, 0, 0, 0]
    momentum = [0.0, 1.0, 1.0, 0.0, 0.0, 7.0, -9.0, 2.0]
    new = update(layer(weight, mask, momentum))[0]  # prunes 0.1 and -0.2, grows momenta 7 and -9
    np.testing.assert_array_equal(new, [0, 1, 1, 0, 0, 1, 1, 0])


def test_a_pruned_weight_of_large_momentum_grows_back():
    new = update(layer([1.0, 2.0, 0.0, 0.0], [1, 1, 0, 0], [5.0, 1.0, 0.0, 1.0]))[0]
    np.testing.assert_array_equal(new, [1, 1, 0, 0])


def test_given_arrays_are_not_changed():
    one = layer([1.0, 2.0, 0.0, 0.0], [1, 1, 0, 0], [0.0, 1.0, 3.0, 0.0])
    before = one.mask.copy()
    assert update(one)[0] is not one.mask
    np.testing.assert_array_equal(one.mask, before)


def test_redistribution_by_hand():
    # Mean |momentum| of the active weights 3 and 1: shares 3/4 and 1/4.
    # 8 active, 4 pruned each: 8 to regrow, 6 and 2.
    weight, mask = np.arange(1.0, 41.0), np.arange(40) < 8
    first = layer(weight, mask, np.where(mask, 3.0, 0.5))
    second = layer(weight, mask, np.where(mask, 1.0, 0.5))
    assert [int(new.sum()) for new in update(first, second)] == [4 + 6, 4 + 2]


# --- the bugs of the published code


def test_growth_never_lands_on_active_weights():
    """There, active weights and zero-momentum candidates tie at 0: density 0.10 becomes 0.073."""
    mask = np.arange(20) < 10
    one = layer(np.arange(1.0, 21.0), mask, np.where(np.arange(20) == 15, 1.0, 0.0))
    new = update(one)[0]
    assert new.sum() == 10
    np.testing.assert_array_equal(
        np.flatnonzero(new & ~mask), [15]
    )  # then ties by index: pruned 0 to 3 come back
    np.testing.assert_array_equal(np.flatnonzero(new), [0, 1, 2, 3, 5, 6, 7, 8, 9, 15])


def test_no_momentum_at_all_means_equal_shares():
    """There, nothing is regrown and half of the weights are gone for good."""
    mask = np.arange(40) < 20
    new = update(layer(np.ones(40), mask), layer(np.ones(40), mask))
    assert [int(m.sum()) for m in new] == [20, 20]


def test_a_layer_without_an_active_weight_gets_one():
    """There, the mean of nothing crashes."""
    empty = layer(np.zeros(10), np.zeros(10), np.ones(10))
    other = layer(np.ones(40), np.arange(40) < 20, np.ones(40))
    new = update(empty, other)
    assert [int(m.sum()) for m in new] == [1, 19]


def test_a_layer_keeps_its_last_weight():
    single = layer([1.0, 0.0, 0.0], [1, 0, 0])
    other = layer(np.ones(40), np.arange(40) < 20, np.ones(40))
    new = update(single, other, prune_rate=1.0)
    assert new[0].sum() >= 1
    assert sum(int(m.sum()) for m in new) == 21


def test_redistribute_none_keeps_every_layer_as_it_is():
    """There, `none` grows in proportion to the layer's size and flattens every ERK start."""
    small, large = (
        layer(np.ones(20), np.arange(20) < 10, np.ones(20)),
        layer(np.ones(200), np.arange(200) < 10, np.ones(200)),
    )
    assert [int(m.sum()) for m in update(small, large, redistribute=None)] == [10, 10]


def test_magnitude_prunes_near_zero_of_both_signs():
    """There, SET keeps only the most negative weights: 785 -> 196, where 393 are expected."""
    weight = [-4.0, -3.0, -0.2, -0.1, 0.1, 0.2, 3.0, 4.0] + [0.0] * 8
    kept = prune_to(
        [layer(weight, np.arange(16) < 8)], [4], scores.magnitude, np.random.default_rng(0)
    )[0]
    np.testing.assert_array_equal(np.flatnonzero(kept), [0, 1, 6, 7])


def test_total_never_drifts_over_many_updates():
    """There, a hidden controller lets the total drift by about 1 %, or makes the network dense."""
    rng = np.random.default_rng(0)
    masks = [rng.random((30, 20)) < 0.1, rng.random((20, 10)) < 0.1]
    total = sum(int(m.sum()) for m in masks)
    for _ in range(200):
        layers = [layer(rng.normal(size=m.shape) * m, m, rng.normal(size=m.shape)) for m in masks]
        masks = update(*layers, prune_rate=0.01)
        assert sum(int(m.sum()) for m in masks) == total


# --- blocks


def test_blocks_are_pruned_and_grown_whole():
    blocks = np.array([[1, 0], [0, 1]])
    weight = np.kron([[1.0, 0.0], [0.0, 5.0]], np.ones((2, 2)))
    momentum = np.kron([[1.0, 3.0], [0.1, 1.0]], np.ones((2, 2)))
    momentum[2, 0] = 9.0  # 9.3 over its block is less than 12
    new = update(layer(weight, np.kron(blocks, np.ones((2, 2))), momentum, block_shape=(2, 2)))[0]
    np.testing.assert_array_equal(new, np.kron([[0, 1], [0, 1]], np.ones((2, 2))))


# --- errors


def test_nan_names_the_layer():
    bad = layer(
        [1.0, 2.0, 0.0, 0.0], [1, 1, 0, 0], [0.0, 1.0, np.nan, 0.0], name="net/dense/kernel"
    )
    with pytest.raises(ValueError, match="NaN in the scores of layer 'net/dense/kernel'"):
        update(bad)


@pytest.mark.parametrize("share", [-0.5, -1.5, float("nan")])
def test_a_share_below_0_names_the_layer(share):
    with pytest.raises(ValueError, match="must be finite and not negative.*share="):
        update(layer([1.0, 2.0, 0.0], [1, 1, 0]), redistribute=lambda layer: share)
    update(layer([1.0, 2.0, 0.0], [1, 1, 0]), redistribute=lambda layer: 0.0)


def all_to(name):
    """A share that gives all weights to one layer."""
    return lambda layer: float(layer.name == name)


def test_a_layer_is_filled_to_99_percent_of_its_missing_and_pruned_weights():
    first = layer(np.ones(100), np.arange(100) < 50, name="first")
    second = layer(np.ones(600), np.arange(600) < 100)
    # 25 and 50 are pruned; 75 places of the first are free, and 99 % of them are 74.
    new = update(first, second, redistribute=all_to("first"))
    assert [int(mask.sum()) for mask in new] == [25 + 74, 50 + 1]


def test_a_layer_of_blocks_is_filled_to_99_percent_of_its_blocks():
    def blocks(groups, active, name):
        mask = np.zeros((2, 2 * groups), bool)
        mask[:, : 2 * active] = True
        return layer(np.ones(mask.shape), mask, name=name, structure=Blocks(2, 2))

    # 2 and 2 blocks are pruned; 3 of the first are free, and 99 % of them are 2 whole ones.
    new = update(blocks(4, 3, "first"), blocks(8, 4, "second"), redistribute=all_to("first"))
    assert [int(mask.sum()) for mask in new] == [4 * (1 + 2), 4 * (2 + 2)]


def test_infinite_share_names_the_layer():
    bad = layer(
        [1.0, 2.0, 0.0, 0.0], [1, 1, 0, 0], [np.inf, 1.0, 0.0, 0.0], name="net/dense/kernel"
    )
    with pytest.raises(
        ValueError, match="share of layer 'net/dense/kernel' must be finite.*Received: share=inf"
    ):
        update(bad)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_prune_rate_outside_its_range_raises(rate):
    with pytest.raises(ValueError, match="`prune_rate` must be in"):
        update(layer([1.0, 0.0], [1, 0]), prune_rate=rate)


def test_a_score_of_another_shape_raises():
    with pytest.raises(
        ValueError, match=r"A score must have the weight's shape. Received: shape \(3,\)"
    ):
        update(layer([1.0, 2.0, 0.0, 0.0], [1, 1, 0, 0]), grow=lambda one, rng: np.zeros(3))


def test_a_group_that_is_active_in_part_names_the_layer():
    mask = np.eye(4, dtype=bool)
    layer = MaskedLayer("net/a", mask * 1.0, mask, block_shape=(2, 2))
    with pytest.raises(ValueError, match="'net/a' is not made of whole blocks.*2 of 4 blocks"):
        active_groups(layer)
