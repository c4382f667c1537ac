"""How many each layer loses and regains, where layers are full or nearly so."""

import numpy as np
import pytest

from keras_sparse.rules.budget import Counts, grow_counts, prune_counts


def counts(active, missing, shares, block_size=None):
    sizes = np.ones(len(active)) if block_size is None else block_size
    return Counts(
        np.array(active), np.array(missing), np.array(sizes, np.int64), np.array(shares, float)
    )


@pytest.mark.parametrize(
    ("rate", "pruned"), [(0.5, [8, 2, 0]), (0.2, [3, 1, 0]), (0.1, [2, 0, 0]), (0.005, [0, 0, 0])]
)
def test_blocks_to_prune_are_the_nearest_number(rate, pruned):
    few = Counts(
        np.array([16, 3, 1]), np.array([48, 61, 63]), np.array([9 * 32 * 32] * 3), np.full(3, 1 / 3)
    )
    np.testing.assert_array_equal(prune_counts(few, rate), pruned)  # the last block stays


def test_prune_counts_are_the_ceiling():
    np.testing.assert_array_equal(
        prune_counts(counts([10, 30], [90, 70], [0.5, 0.5]), 0.1), [1, 3]
    )  # 0.1 * 30 > 3 in floats
    np.testing.assert_array_equal(
        prune_counts(counts([10, 30], [90, 70], [0.5, 0.5]), 0.11), [2, 4]
    )


def test_a_nearly_dense_important_layer_loses_no_more_than_it_can_get_back():
    # 10 % missing and a share above 1/2: p = min(0.1, 0.5). The other is equally dense, less
    # important.
    np.testing.assert_array_equal(
        prune_counts(counts([90, 90], [10, 10], [0.6, 0.4]), 0.5), [9, 45]
    )
    np.testing.assert_array_equal(
        prune_counts(counts([100, 50], [0, 50], [0.6, 0.4]), 0.5), [0, 25]
    )


def test_growth_is_capped_at_99_percent_of_the_free_places():
    # Both pruned 50 of 100: 100 to regrow; free 100 and 500.
    # The first wants 90 + ... = 90 % of 100, its cap is 99.
    np.testing.assert_array_equal(
        grow_counts(counts([100, 100], [50, 450], [1.0, 0.0]), np.array([50, 50])), [99, 1]
    )


def test_excess_is_spread_equally_over_layers_with_room():
    """The published code spreads it over full layers, too, and loses it after a thousand rounds."""
    # 300 to regrow. The first wants all and takes 99; 201 go to the others in equal parts, 100.5.
    grown = grow_counts(
        counts([200, 200, 200], [0, 800, 800], [1.0, 0.0, 0.0]), np.array([100, 100, 100])
    )
    np.testing.assert_array_equal(grown, [99, 101, 100])
    # By share: shares 0.8 / 0.15 / 0.05 want 240 / 45 / 15, and the excess 141 adds 70.5 to each.
    grown = grow_counts(
        counts([200, 200, 200], [0, 800, 800], [0.8, 0.15, 0.05]), np.array([100, 100, 100])
    )
    np.testing.assert_array_equal(grown, [99, 116, 85])


def test_caps_give_way_only_if_every_layer_is_at_its_cap():
    # Everything was pruned from full layers: 20 to regrow, caps 9 and 9.
    np.testing.assert_array_equal(
        grow_counts(counts([20, 20], [0, 0], [0.9, 0.1]), np.array([10, 10])), [10, 10]
    )


def test_blocks_of_several_sizes_keep_the_total():
    # Blocks of 9 and of 1 weights; 36 and 4 pruned weights: 40 to regrow.
    grown = grow_counts(counts([8, 8], [32, 92], [0.5, 0.5], [9, 1]), np.array([4, 4]))
    assert grown @ [9, 1] == 40
    np.testing.assert_array_equal(grown, [2, 22])


def test_blocks_that_cannot_add_up_give_back_what_was_pruned():
    # Blocks of 9 and 25 weights, one of each pruned: 34 has no other sum.
    np.testing.assert_array_equal(
        grow_counts(counts([2, 2], [20, 20], [0.0, 1.0], [9, 25]), np.array([1, 1])), [1, 1]
    )
