"""Groups that differ in size, by hand: which fit, and what a budget of weights lets grow."""

import numpy as np
import pytest

from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.layer_counts import count_layers
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.ragged import at_least_one, fitting, group_units, units_of
from keras_sparse.rules.ragged_update import grow_where_groups_differ, keep_fitting
from keras_sparse.rules.scores import magnitude, momentum

BLOCKS = Blocks(4, 4)
SCORES, SIZES = np.array([[4.0, 3.0, 3.0, 1.0]]), np.array([[4, 4, 2, 1]])


def layer(channels, active, values, cost=1):
    """Four inputs and one value for each block of four outputs; the last may be smaller."""
    shape = (4, channels)
    of_each = np.repeat(np.array(values, float), 4)[:channels]
    mask = BLOCKS.from_groups(np.array([active], bool), shape)
    arrays = np.broadcast_to(of_each, shape), mask, np.broadcast_to(of_each, shape)
    return MaskedLayer(f"of {channels}", *arrays, structure=BLOCKS, cost=cost)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (0, [0, 0, 0, 0]),
        (1, [0, 0, 0, 1]),
        (3, [0, 0, 1, 1]),
        (4, [1, 0, 0, 0]),
        (7, [1, 0, 1, 1]),
        (8, [1, 1, 0, 0]),  # of two equal scores the first
        (10, [1, 1, 1, 0]),
        (99, [1, 1, 1, 1]),
    ],
)
def test_the_best_that_fit_are_chosen_and_smaller_ones_fill_what_is_left(room, expected):
    np.testing.assert_array_equal(fitting(SCORES, SIZES, room), [expected])


def test_only_candidates_are_chosen():
    among = np.array([[False, True, False, True]])
    np.testing.assert_array_equal(fitting(SCORES, SIZES, 99, among), among)
    np.testing.assert_array_equal(fitting(SCORES, SIZES, 4, among), [[0, 1, 0, 0]])


@pytest.mark.parametrize(
    ("room", "among", "expected"),
    [
        (0, None, [1, 0, 0, 0]),  # none fits: the best
        (0, [0, 0, 1, 1], [0, 0, 1, 0]),
        (0, [0, 0, 0, 0], [0, 0, 0, 0]),  # no candidate
        (1, None, [0, 0, 0, 1]),  # one fits
        (1, [0, 1, 0, 1], [0, 0, 0, 1]),
    ],
)
def test_where_none_fits_the_best_is_chosen(room, among, expected):
    among = None if among is None else np.array([among], bool)
    np.testing.assert_array_equal(at_least_one(SCORES, SIZES, room, among), [expected])


def test_groups_are_counted_in_weights_where_they_differ_in_size():
    assert units_of(np.array([[True, False, True]]), BLOCKS, (4, 10)) == 16 + 8
    assert units_of(np.array([[True, False]]), BLOCKS, (4, 8)) == 1
    assert [group_units(BLOCKS, (4, n)) for n in (8, 10)] == [1, 16]


@pytest.mark.parametrize(
    ("room", "expected"), [(40, [1, 1, 1]), (39, [0, 1, 1]), (16, [0, 1, 0]), (3, [0, 1, 0])]
)
def test_the_best_active_groups_that_fit_are_kept_and_at_least_one(room, expected):
    kept = keep_fitting(layer(10, [1, 1, 1], [1, 3, 2]), room, magnitude, None)
    np.testing.assert_array_equal(kept, [expected])


def test_missing_groups_are_not_kept():
    kept = keep_fitting(layer(10, [1, 0, 1], [1, 3, 2]), 23, magnitude, None)
    np.testing.assert_array_equal(kept, [[0, 0, 1]])


@pytest.mark.parametrize(
    ("cost", "kept", "budget", "expected"),
    [
        (1, ([1, 0, 0], [1, 0]), None, ([1, 0, 0], [1, 0])),  # nothing was pruned
        (1, ([0, 0, 0], [1, 0]), None, ([0, 1, 0], [1, 0])),  # 16 weights, where momentum is larger
        (1, ([1, 0, 0], [1, 0]), 39, ([1, 0, 0], [1, 0])),  # 7 more buy nothing
        (1, ([1, 0, 0], [1, 0]), 56, ([1, 0, 1], [1, 1])),  # 24 more: the dearest unit first
        (2, ([1, 0, 0], [1, 0]), 88, ([1, 0, 1], [1, 1])),  # 40 more: a block of 32, and 8 weights
        (2, ([1, 0, 0], [1, 0]), 64, ([1, 1, 0], [1, 0])),  # 16 more, which no block of 32 fits
        (2, ([1, 0, 0], [1, 0]), 999, ([1, 1, 1], [1, 1])),
    ],
)
def test_the_budget_lets_grow_what_it_pays(cost, kept, budget, expected):
    """Blocks of 16, 16 and 8 weights beside two of 16, whose weights may cost twice as much."""
    layers = [layer(10, [1, 0, 0], [1, 3, 2]), layer(8, [1, 0], [1, 1], cost)]
    groups = [np.array([own], bool) for own in kept]
    counts = count_layers(layers, None)
    grown = grow_where_groups_differ(layers, counts, groups, momentum, None, budget, False)
    found = [BLOCKS.active_groups(mask).tolist() for mask in grown]
    assert found == [[list(map(bool, own))] for own in expected]


def test_layers_grow_by_their_shares_of_weights():
    """16 weights were pruned of each; the second layer's momentum is three times the first's."""
    layers = [layer(10, [1, 1, 0], [1, 1, 1]), layer(10, [1, 1, 0], [3, 3, 3])]
    kept = [np.array([[True, False, False]])] * 2
    counts = count_layers(layers, lambda one: float(one.momentum.max()))
    masks = grow_where_groups_differ(layers, counts, kept, momentum, None, None, True)
    # 8 and 24 of the 32 weights
    assert [int(mask.sum()) for mask in masks] == [24, 40]


@pytest.mark.parametrize(("wanted", "expected"), [(3, 16), (16, 16), (24, 24), (30, 30), (40, 40)])
def test_one_threshold_counts_such_a_layer_in_weights_of_at_least_a_group(wanted, expected):
    layers = [layer(10, [1, 1, 1], [1, 3, 2])]
    assert global_counts(layers, wanted, magnitude, np.random.default_rng(0)) == [expected]


def test_the_group_that_just_fits_is_the_one_of_the_larger_score():
    layers = [layer(10, [1, 1, 1], [9, 5, 1]), layer(10, [1, 1, 1], [9, 6, 1])]
    assert global_counts(layers, 48, magnitude, np.random.default_rng(0)) == [16, 32]


def test_one_threshold_counts_whole_blocks_beside_weights():
    """16 of each layer; the next block of 16 does not fit into 8, one of 8 weights does."""
    layers = [layer(10, [1, 1, 1], [9, 5, 1]), layer(8, [1, 1], [8, 6])]
    rng = np.random.default_rng(0)
    assert global_counts(layers, 40, magnitude, rng) == [24, 16]
    assert global_counts(layers, 48, magnitude, rng) == [16, 32]
    layers[0] = layer(10, [1, 1, 1], [9, 7, 1])
    assert global_counts(layers, 48, magnitude, rng) == [32, 16]
