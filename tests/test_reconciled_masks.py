"""Masks for weights that were put back: those of an earlier epoch, or an error."""

import numpy as np
import pytest

from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.reconciled_masks import reconcile
from keras_sparse.rules.single_weights import Weights


def test_masks_that_fit_stay_the_same_objects():
    masks = [np.array([True, True, False])]
    assert reconcile(["a"], [np.array([1.0, 0.0, 0.0])], masks, Weights())[0] is masks[0]


def test_masks_follow_weights_of_an_earlier_epoch():
    weights = [np.array([0.0, 2.0, 3.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0])]
    masks = [np.array([True, True, False, False]), np.array([True, True, False, False])]
    fitting = reconcile(["a", "b"], weights, masks, Weights())
    # Three nonzeros of four active: the fourth is the first zero that was active, in layer 1.
    np.testing.assert_array_equal(fitting[0], [True, True, True, False])
    np.testing.assert_array_equal(fitting[1], [True, False, False, False])


def test_zeros_that_were_missing_stay_missing():
    weights, masks = [np.array([0.0, 0, 0, 0, 5])], [np.array([False, True, False, True, False])]
    (fitting,) = reconcile(["a"], weights, masks, Weights())
    np.testing.assert_array_equal(fitting, [False, True, False, False, True])


def test_weights_of_a_dense_model_raise():
    with pytest.raises(
        ValueError,
        match='not those of this sparse run: 4 of them.*2 active.*initial_masks="magnitude"',
    ):
        reconcile(["a"], [np.ones(4)], [np.array([True, True, False, False])], Weights())


def test_blocks_per_tap_follow_weights_of_an_earlier_epoch():
    structure = Blocks(2, 1, per_tap=True)  # kernels of two taps, four inputs, one output: 4 blocks
    mask = np.array([[1, 1, 1, 1], [0, 0, 1, 1]], bool)[..., None]
    weight = np.array([[0, 0, 0, 0], [0, 5, 0, 0]], float)[..., None]
    (fitting,) = reconcile(["a"], [weight], [mask], structure)
    # The block of the nonzero; then, of the active ones, the first two.
    by_hand = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)[..., None]
    np.testing.assert_array_equal(fitting, by_hand)


def test_too_many_nonzero_blocks_per_tap_raise():
    mask = np.array([[1, 1, 0, 0]], bool)[..., None]
    with pytest.raises(
        ValueError, match=r"4 of them, in whole blocks \(structure=Blocks\(2, 1, per"
    ):
        reconcile(["a"], [np.ones((1, 4, 1))], [mask], Blocks(2, 1, per_tap=True))
