"""Random blocks per tap spread over taps and channels, and follow their seed."""

import math

import numpy as np
import pytest

from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.initial_masks import initial_mask


@pytest.mark.parametrize("taps", [(3,), (2, 2), (3, 3)])
@pytest.mark.parametrize("grid", [(2, 4), (4, 3), (1, 5)])
def test_random_blocks_per_tap_leave_out_as_few_channels_as_can_be(taps, grid):
    shape = (*taps, 2 * grid[0], 2 * grid[1])
    every, structure = math.prod(taps) * math.prod(grid), Blocks(2, 2, per_tap=True)
    for number in range(1, every + 1):
        rng = np.random.default_rng(number)
        mask = initial_mask("random", "kernel", np.ones(shape), 4 * number, structure, rng)
        groups = structure.active_groups(mask).reshape(-1, *grid)
        assert groups.sum() == number
        assert groups[math.prod(taps) // 2, 0, 0]  # in every layer: a way through
        assert np.ptp(groups.sum((0, 2))) <= 1
        assert np.ptp(groups.sum((0, 1))) <= 1
        assert np.ptp(groups.sum(0)) <= 1  # over pairs of channels, too


def test_random_blocks_per_tap_are_seeded_and_use_every_tap():
    structure, weight = Blocks(2, 2, per_tap=True), np.ones((3, 3, 32, 32))
    masks = [
        initial_mask("random", "kernel", weight, 1024, structure, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()
    counts = masks[0].sum((2, 3)) // 4  # 256 blocks, 28 in a tap on average
    assert counts.min() > 10
    assert counts.max() < 50
