"""Blocks: sums over a kernel's blocks, and masks back from them."""

import numpy as np
import pytest

from keras_sparse import blocks


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
    with pytest.raises(ValueError, match=r"must divide.*block_shape=\(2, 4\) for 'head/kernel' of shape \(8, 10\).*dense="):
        blocks.check_divisible("head/kernel", (8, 10), (2, 4))
