"""A mask becomes a picture: shares of active weights by pair of channels, and by tap."""

import numpy as np
import pytest

from keras_sparse.rules.channel_map import channel_map, tap_shares


def test_a_small_kernel_has_a_cell_for_each_pair_of_channels():
    mask = np.zeros((3, 3, 2, 4), bool)
    mask[:, 1, 0, 3] = True  # 3 of 9 taps
    mask[..., 1, 0] = True
    found = channel_map(mask, (2,), (3,))
    expected = np.zeros((2, 4))
    expected[0, 3], expected[1, 0] = 3 / 9, 1
    np.testing.assert_allclose(found.shares, expected)
    assert (found.channels, found.per_cell) == ((2, 4), (1, 1))


def test_a_large_kernel_has_cells_of_neighbouring_channels_and_keeps_its_density():
    mask = np.random.default_rng(0).random((2, 12, 20)) < 0.3
    found = channel_map(mask, (1,), (2,), most=4)
    assert (found.shares.shape, found.per_cell) == ((4, 4), (3, 5))
    assert found.shares.mean() == pytest.approx(mask.mean())
    assert found.shares[1, 2] == pytest.approx(mask[:, 3:6, 10:15].mean())


def test_the_last_cells_count_the_channels_that_are_left():
    mask = np.zeros((5, 3), bool)
    mask[4] = True  # the third cell has one row
    found = channel_map(mask, (0,), (1,), most=3)
    np.testing.assert_array_equal(found.shares, [[0, 0, 0], [0, 0, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("shape", "inputs", "outputs", "channels"),
    [
        ((8, 2, 3), (0,), (1, 2), (8, 6)),  # einsum: heads and their size are outputs
        ((3, 3, 4, 6), (3,), (2,), (6, 4)),  # transposed convolution
        ((7,), (-1,), (0,), (1, 7)),  # a bias that the user masks
        ((5, 6), (-2,), (-1,), (5, 6)),
    ],
)
def test_channels_are_those_of_the_layer(shape, inputs, outputs, channels):
    mask = np.random.default_rng(0).random(shape) < 0.5
    found = channel_map(mask, inputs, outputs)
    assert found.channels == channels
    assert found.shares.mean() == pytest.approx(mask.mean())


def test_the_axes_of_a_transposed_kernel_are_not_mixed_up():
    mask = np.zeros((1, 1, 4, 6), bool)
    mask[0, 0, 2, 5] = True  # output 2, input 5
    assert np.argwhere(channel_map(mask, (3,), (2,)).shares).tolist() == [[5, 2]]


def test_shares_of_taps():
    mask = np.zeros((2, 3, 4, 5), bool)
    mask[1, 2, :2] = True
    np.testing.assert_allclose(tap_shares(mask, (2,), (3,)), [[0, 0, 0], [0, 0, 0.5]])
    assert tap_shares(mask[0, 0], (0,), (1,)).shape == ()
