"""The first masks, of weights or at random."""

import numpy as np
import pytest

from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.initial_masks import check_kind, initial_mask
from keras_sparse.rules.structure_arguments import as_structure

WEIGHT = np.array([[0.1, -5.0, 0.0], [2.0, -0.3, 0.0]])


def first(kind, active=2, block_shape=None, weight=WEIGHT, seed=0):
    structure, rng = as_structure(block_shape), np.random.default_rng(seed)
    return initial_mask(kind, "net/kernel", weight, active, structure, rng)


def test_magnitude_keeps_the_largest():
    np.testing.assert_array_equal(first("magnitude"), [[False, True, False], [True, False, False]])


def test_nonzero_is_what_the_weights_say():
    np.testing.assert_array_equal(first("nonzero"), WEIGHT != 0)


def test_random_is_exact_and_seeded():
    weight = np.ones((50, 40))
    masks = [first("random", 123, weight=weight, seed=seed) for seed in (1, 1, 2)]
    assert masks[0].sum() == 123
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_blocks_are_whole():
    mask = first("random", 8, (2, 2), np.ones((4, 4)))
    assert sorted(mask.reshape(2, 2, 2, 2).sum(axis=(1, 3)).ravel()) == [0, 0, 4, 4]


@pytest.mark.parametrize("shape", [(4, 4), (2, 4), (8, 3), (1, 5), (6, 4)])
def test_random_blocks_leave_out_as_few_channels_as_can_be(shape):
    for number in range(1, shape[0] * shape[1] + 1):
        mask = first(
            "random", 4 * number, (2, 2), np.ones((2 * shape[0], 2 * shape[1])), seed=number
        )[::2, ::2]
        assert mask.sum() == number
        assert mask[0, 0]  # in every layer: a way through
        assert np.ptp(mask.sum(0)) <= 1
        assert np.ptp(mask.sum(1)) <= 1


@pytest.mark.parametrize(("taps", "middle"), [((3,), 1), ((3, 3), 4), ((2,), 1), ((1, 1), 0)])
def test_random_blocks_per_tap_begin_at_the_middle_tap_and_use_every_place(taps, middle):
    structure, weight = Blocks(1, 1, per_tap=True), np.ones((*taps, 2, 3))
    for number in range(1, weight.size + 1):
        rng = np.random.default_rng(number)
        mask = initial_mask("random", "net/kernel", weight, number, structure, rng)
        assert mask.sum() == number
        assert mask.reshape(-1, 2, 3)[middle, 0, 0]


def test_magnitude_keeps_the_blocks_of_the_largest_weights():
    weight = np.ones((4, 4))
    weight[2:, :2] = 3.0
    np.testing.assert_array_equal(first("magnitude", 4, (2, 2), weight), weight == 3.0)


def test_less_than_half_a_block_is_one():
    assert first("magnitude", 1, (2, 2), np.ones((4, 4))).sum() == 4


def test_random_blocks_differ_from_seed_to_seed():
    masks = [first("random", 64, (2, 2), np.ones((32, 32)), seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_nonzero_without_nonzeros_raises():
    with pytest.raises(ValueError, match="found no nonzero weight in 'net/kernel'"):
        first("nonzero", weight=np.zeros((2, 2)))


def test_an_unknown_kind_raises():
    with pytest.raises(
        ValueError, match="`initial_masks` must be one of.*Received: initial_masks='ones'"
    ):
        check_kind("ones")
