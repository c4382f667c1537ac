"""SRigL's update in the benchmark: a constant fan-in, and units that lose all weights."""

import numpy as np
from numpy.testing import assert_array_equal

from benchmarks.ablation_update import first_mask, updated

MASK = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 0]], bool)
WEIGHT = MASK * np.array([[0.01, 3.0, 0.0], [0.02, 0.0, 4.0], [0.0, 5.0, 6.0], [0.0, 0.0, 0.0]])
GRADIENT = np.array([[0, 0, 9], [0, 7, 0], [0, 0, 0], [0, 1, 2]], float)


def test_first_masks_have_a_constant_fan_in():
    mask = first_mask(8, 5, 3, np.random.default_rng(0))
    assert_array_equal(mask.sum(0), [3] * 5)


def test_without_ablation_each_unit_keeps_its_fan_in():
    new = updated(WEIGHT, GRADIENT, MASK, 1 / 3, 0.0)
    assert_array_equal(new.sum(0), [2, 2, 2])
    assert_array_equal(new[:, 1:], MASK[:, 1:])  # larger weights stay


def test_a_unit_without_salient_weights_gives_them_to_the_others():
    """Two of six weights are pruned, both of unit 0; the two others grow by the gradient."""
    new = updated(WEIGHT, GRADIENT, MASK, 1 / 3, 0.3)
    assert_array_equal(new, [[0, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 0]])
    assert new.sum() == MASK.sum()


def test_units_without_weights_stay_without():
    mask = MASK & [False, True, True]
    new = updated(WEIGHT * mask, GRADIENT, mask, 0.5, 0.3)
    assert not new[:, 0].any()
    assert_array_equal(new.sum(0)[1:], [2, 2])


def test_one_unit_stays_where_no_unit_has_enough():
    new = updated(WEIGHT, GRADIENT, MASK, 0.0, 1.5)
    assert new.any()
