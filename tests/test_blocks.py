"""Blocks: sums over a kernel's blocks, and masks back from them."""

import itertools
import math

import numpy as np
import pytest

from keras_sparse.rules import blocks
from keras_sparse.rules.budget import to_whole_blocks


def test_sums_cover_all_taps_of_a_channel_block():
    kernel = np.arange(2 * 4 * 4, dtype=np.float64).reshape(2, 1, 4, 4)
    by_hand = np.array([[kernel[:, :, i : i + 2, o : o + 4].sum() for o in (0,)] for i in (0, 2)])
    np.testing.assert_array_equal(blocks.to_blocks(kernel, (2, 4)), by_hand)


def test_a_mask_comes_back_as_whole_blocks():
    mask = blocks.from_blocks(np.array([[True, False], [False, True]]), (3, 4, 4), (2, 2))
    np.testing.assert_array_equal(mask[1], np.kron(np.eye(2), np.ones((2, 2))).astype(bool))
    assert mask.flags.writeable
    np.testing.assert_array_equal(blocks.to_blocks(mask, (2, 2)), [[12, 0], [0, 12]])


def test_none_means_single_weights():
    kernel = np.ones((3, 4))
    assert blocks.to_blocks(kernel, None) is kernel
    assert blocks.block_size((3, 3, 4, 4), None) == 1
    assert blocks.block_size((3, 3, 4, 4), (2, 4)) == 72


@pytest.mark.parametrize("block_shape", [(0, 1), (2,), 4, (2, 2, 2), (1.5, 2), (True, 1)])
def test_a_block_shape_that_cannot_be_raises(block_shape):
    with pytest.raises(ValueError, match="`block_shape` must be None or two positive integers"):
        blocks.check_block_shape(block_shape)


def test_channels_that_are_not_whole_blocks_raise():
    with pytest.raises(
        ValueError,
        match=r"must divide.*block_shape=\(2, 4\) for 'head/kernel' of shape \(8, 10\).*dense=",
    ):
        blocks.check_divisible("head/kernel", (8, 10), (2, 4))


def test_the_smallest_whole_blocks_that_hold_a_mask():
    mask = np.zeros((2, 4, 4), bool)
    mask[1, 0, 3] = True
    whole = blocks.whole_blocks(mask, (2, 2))
    np.testing.assert_array_equal(whole[0], np.kron([[0, 1], [0, 0]], np.ones((2, 2))).astype(bool))
    assert blocks.whole_blocks(mask, None) is mask
    blocks.check_whole("kernel", whole, (2, 2))
    with pytest.raises(
        ValueError,
        match=r"'kernel' is not made of whole blocks.*\(2, 2\).*Received: 1 of 4 blocks are active in part",
    ):
        blocks.check_whole("kernel", mask, (2, 2))


# --- counts in whole blocks


@pytest.mark.parametrize(
    ("wanted", "shapes", "block_shape", "expected"),
    [
        ([22, 20], [(8, 8), (8, 8)], (4, 4), [32, 16]),  # 42 weights: 2.6 blocks of 16
        ([1152, 1152, 64], [(3, 3, 16, 32), (3, 3, 32, 16), (16, 16)], (4, 8), [1152, 1152, 64]),
        ([50, 50], [(3, 3, 8, 8), (5, 5, 8, 8)], (4, 4), [144, 400]),  # each layer has a block
        (
            [400, 32],
            [(3, 3, 16, 32), (16, 16)],
            (4, 8),
            [288, 128],
        ),  # 1.39 and 1 blocks: 13.5 of the small ones
    ],
)
def test_the_total_is_the_nearest_that_blocks_can_have(wanted, shapes, block_shape, expected):
    assert to_whole_blocks(wanted, shapes, block_shape) == expected


def test_the_total_is_the_nearest_of_all():
    rng = np.random.default_rng(0)
    for _ in range(40):
        kernels = [
            () if k == 0 else (int(k), int(k))
            for k in rng.choice([0, 1, 3, 5], size=rng.integers(1, 4))
        ]
        shapes = [(*kernel, *(int(n) for n in 4 * rng.integers(1, 4, 2))) for kernel in kernels]
        most = [math.prod(shape) for shape in shapes]
        wanted = [max(1, round(rng.uniform(0.05, 1) * n)) for n in most]
        counts = to_whole_blocks(wanted, shapes, (4, 4))
        sizes = [blocks.block_size(shape, (4, 4)) for shape in shapes]
        assert all(
            count % size == 0 and size <= count <= n
            for count, size, n in zip(counts, sizes, most, strict=True)
        )
        reachable = itertools.product(
            *(range(size, n + 1, size) for size, n in zip(sizes, most, strict=True))
        )
        assert abs(sum(counts) - sum(wanted)) == min(
            abs(sum(one) - sum(wanted)) for one in reachable
        )


def test_layers_take_no_more_than_they_may():
    assert to_whole_blocks([40, 40], [(8, 8), (8, 8)], (4, 4), at_most=[16, 64]) == [16, 64]
    assert to_whole_blocks([7, 9], [(8, 8), (8, 8)], None) == [7, 9]
    # 320 weights: 288 and one of 32; nothing is taken from the other layer where it cannot come back
    assert to_whole_blocks([250, 70], [(3, 3, 16, 32), (16, 16)], (4, 8), only_up=True) == [288, 64]
    assert to_whole_blocks([250, 70], [(3, 3, 16, 32), (16, 16)], (4, 8)) == [288, 32]
