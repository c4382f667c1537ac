"""The initial scale: sqrt(n / n_active) for every weight."""

import numpy as np
import pytest

from keras_sparse.rules.initial_scale import (
    check_initial_scale,
    depthwise,
    einsum,
    plain,
    scale_factors,
    transposed,
)

# Into the units of columns 0, 1, 2 lead 1, 2, 0 of 4 connections;
# out of those of rows 0, 1, 2, 3 lead 2, 1, 0, 0 of 3.
MASK = np.array(
    [[True, True, False], [False, True, False], [False, False, False], [False, False, False]]
)


def test_fan_in_counts_the_active_connections_into_each_unit():
    expected = [[np.sqrt(4 / 1), np.sqrt(4 / 2), np.sqrt(4 / 1)]]  # no connection counts as one
    np.testing.assert_allclose(scale_factors(MASK, plain(2), "fan_in"), expected)


def test_fan_out_counts_the_active_connections_out_of_each_unit():
    expected = [[np.sqrt(3 / 2)], [np.sqrt(3 / 1)], [np.sqrt(3)], [np.sqrt(3)]]
    np.testing.assert_allclose(scale_factors(MASK, plain(2), "fan_out"), expected)


def test_fan_avg_is_of_the_two_units_that_a_weight_connects():
    factors = scale_factors(MASK, plain(2), "fan_avg")
    assert factors.shape == (4, 3)
    assert factors[0, 0] == pytest.approx(np.sqrt((4 + 3) / (1 + 2)))
    assert factors[1, 1] == pytest.approx(np.sqrt((4 + 3) / (2 + 1)))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("connections", [plain(4), transposed(4), depthwise(4)])
def test_a_full_mask_leaves_the_weights(connections, mode):
    assert (scale_factors(np.ones((3, 3, 4, 2), bool), connections, mode) == 1).all()


def test_every_kernel_has_its_own_axes():
    assert plain(4) == ((0, 1, 2), (0, 1, 3))  # (height, width, in, out)
    assert transposed(4) == ((0, 1, 3), (0, 1, 2))  # (height, width, out, in)
    assert depthwise(4) == ((0, 1), (0, 1, 3))  # (height, width, in, outputs of each)
    assert einsum("abc,cde->abde") == ((0,), (1, 2))  # the queries of an attention
    assert einsum("abcd,cde->abe") == ((0, 1), (2,))  # and its outputs
    assert einsum("...x,xy->...y") == ((0,), (1,))
    assert einsum("abc,bcd->abd") == ((1,), (2,))  # a kernel for each b


def test_taps_and_blocks_are_counted_weight_by_weight():
    mask = np.zeros((3, 3, 4, 4), bool)
    mask[:, :, :2, :2] = True
    np.testing.assert_allclose(
        scale_factors(mask, plain(4), "fan_in")[0, 0, 0, :2], np.sqrt(36 / 18)
    )


def test_the_signal_keeps_its_variance():
    """The sum over a unit's active inputs has the variance of the dense sum."""
    rng = np.random.default_rng(0)
    weight, mask = rng.normal(size=(400, 500)), rng.random((400, 500)) < rng.uniform(0.02, 0.5, 500)
    scaled = weight * mask * scale_factors(mask, plain(2), "fan_in")
    assert np.sum(scaled**2, axis=0).mean() == pytest.approx(400, rel=0.03)


def test_other_scales_are_refused():
    assert [check_initial_scale(scale) for scale in ("auto", None)] == ["auto", None]
    with pytest.raises(ValueError, match='must be "auto" or None. Received: initial_scale=2.0'):
        check_initial_scale(2.0)
