"""Budgets by hand: how many groups each layer loses and regains."""

import numpy as np
import pytest

from keras_sparse.rules.budget import (
    Counts,
    _round_to_groups,
    _without_empty_layers,
    grow_counts,
    prune_counts,
    spread,
)


def counts(active, missing, sizes=1, shares=None):
    n = len(active)
    shares = np.full(n, 1 / n) if shares is None else shares
    return Counts(np.array(active), np.array(missing), np.broadcast_to(sizes, n), shares)


def of(*arrays):
    return [np.array(array) for array in arrays]


# --- to prune


@pytest.mark.parametrize(
    ("active", "rate", "size", "pruned"),
    [
        (100, 0.07, 1, 7),  # 0.07 * 100 is 7.000000000000001
        (25, 0.1, 1, 3),  # 2.5, rounded up
        (1, 1.0, 1, 0),  # one stays
        (5, 1.0, 1, 4),
        (0, 1.0, 1, 0),
        (4, 0.005, 4, 0),
        (4, 0.1, 4, 0),  # 0.4
        (4, 0.125, 4, 1),  # 0.5
        (4, 0.2, 4, 1),  # 0.8
    ],
)
def test_single_weights_are_rounded_up_and_groups_to_the_nearest(active, rate, size, pruned):
    assert prune_counts(counts([active], [9 * active], size), rate) == [pruned]


@pytest.mark.parametrize(
    ("active", "missing", "share", "rate", "pruned"),
    [
        (90, 10, 0.6, 0.5, 9),  # 10 % are missing: the rate is 0.1
        (90, 10, 0.6, 0.05, 5),
        (90, 10, 0.4, 0.5, 45),  # not important
        (90, 10, 0.5, 0.5, 45),  # as important as the other
        (80, 20, 0.6, 0.5, 40),  # not nearly dense
        (100, 0, 0.6, 0.5, 0),
    ],
)
def test_an_important_layer_that_is_nearly_dense_is_pruned_less(
    active, missing, share, rate, pruned
):
    both = counts([active, 10], [missing, 90], shares=np.array([share, 1 - share]))
    np.testing.assert_array_equal(prune_counts(both, rate), [pruned, round(10 * rate + 0.4)])


def test_an_empty_layer_is_no_division_by_zero():
    np.testing.assert_array_equal(prune_counts(counts([0, 10], [0, 10]), 0.5), [0, 5])


# --- to grow


def test_layers_grow_by_their_shares():
    both = counts([8, 8], [50, 50], shares=np.array([0.75, 0.25]))
    np.testing.assert_array_equal(grow_counts(both, np.array([4, 4])), [6, 2])


def test_a_layer_is_filled_to_99_percent_of_its_free_places():
    both = counts([50, 100], [50, 500], shares=np.array([1.0, 0.0]))
    np.testing.assert_array_equal(grow_counts(both, np.array([50, 100])), [99, 51])


def test_the_caps_give_way_where_all_layers_are_at_theirs():
    full = counts([20, 20], [0, 0])
    np.testing.assert_array_equal(grow_counts(full, np.array([10, 10])), [10, 10])


def test_layers_that_can_just_take_all_are_filled_to_99_percent():
    full = counts([99, 99], [1, 1], shares=np.array([0.9, 0.1]))
    np.testing.assert_array_equal(grow_counts(full, np.array([99, 99])), [99, 99])


def test_groups_count_by_their_weights():
    """1 group of 4 and 4 weights: 8 weights, of which the groups get 5 and the weights 3."""
    both = counts([3, 9], [9, 99], np.array([4, 1]), np.array([0.625, 0.375]))
    np.testing.assert_array_equal(grow_counts(both, np.array([1, 4])), [1, 4])


def test_groups_that_cannot_add_up_regrow_where_they_were_pruned():
    """6 weights of 4 and 6: the layer of 4 may not grow more than it has room for."""
    both = counts([3, 3], [0, 9], np.array([4, 6]), np.array([1.0, 0.0]))
    np.testing.assert_array_equal(grow_counts(both, np.array([0, 1])), [0, 1])
    assert _round_to_groups(*of([3.0, 3.0], 6, [9, 9], [4, 4])) is None


@pytest.mark.parametrize(
    ("wanted", "caps", "expected"),
    [
        ([10.0, 0.0, 0.0], [4, 1, 9], [4, 1, 5]),  # 6 are left: 3 each, then 2 more
        ([10.0, 10.0], [3, 4], [3, 4]),  # no room
        ([1.0, 2.0], [3, 4], [1, 2]),
    ],
)
def test_what_does_not_fit_is_spread_equally(wanted, caps, expected):
    np.testing.assert_allclose(spread(*of(wanted, np.array(caps, float))), expected)


@pytest.mark.parametrize(
    ("wanted", "total", "caps", "sizes", "expected"),
    [
        ([5.0, 3.0], 8, [2, 10], [4, 1], [1, 4]),
        ([0.0, 0.0], 9, [3, 9], [4, 1], [2, 1]),  # one each by remainder, then the large one
        ([4.0, 4.0], 8, [0, 9], [4, 4], [0, 2]),  # the first has no room
        ([3.9, 4.1], 8, [9, 9], [4, 4], [1, 1]),
        ([8.0, 0.0], 8, [9, 9], [4, 4], [2, 0]),
        ([7.0, 5.0], 12, [9, 9], [4, 4], [2, 1]),  # the largest remainder first
        ([5.0, 7.0], 12, [9, 9], [4, 4], [1, 2]),
        ([7.0, 3.0, 2.0], 12, [1, 9, 9], [4, 4, 4], [1, 1, 1]),  # none beyond its room
        ([12.0 - 1e-10, 0.0], 12, [9, 9], [4, 4], [3, 0]),
    ],
)
def test_whole_groups_add_up(wanted, total, caps, sizes, expected):
    grown = _round_to_groups(*of(wanted), total, *of(caps, sizes))
    np.testing.assert_array_equal(grown, expected)


@pytest.mark.parametrize(
    ("active", "pruned", "grown", "sizes", "expected"),
    [
        ([1, 10], [1, 2], [0, 3], [1, 1], [1, 2]),
        ([1, 10], [1, 2], [0, 3], [4, 1], [0, 3]),  # groups of another size
        ([1, 1], [1, 1], [0, 1], [1, 1], [0, 1]),  # the other would be empty
        ([1, 2], [1, 1], [0, 1], [1, 1], [1, 0]),  # and has one left here
        ([1, 9, 9], [1, 1, 1], [0, 2, 3], [1, 1, 1], [1, 2, 2]),  # of what grows most
        ([1, 9], [1, 1], [0, 0], [1, 1], [0, 0]),
        ([9, 1], [1, 1], [0, 0], [1, 1], [0, 0]),  # what grows nothing gives nothing
    ],
)
def test_an_empty_layer_gets_a_group_of_the_one_that_grows_most(
    active, pruned, grown, sizes, expected
):
    both = counts(active, active, np.array(sizes))
    np.testing.assert_array_equal(_without_empty_layers(both, *of(pruned, grown)), expected)
