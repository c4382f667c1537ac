"""All layers compete for a budget, in weights or in what they cost; expected masks by hand."""

import warnings

import keras
import numpy as np
import pytest
from helpers import assert_same

import keras_sparse as ks
from keras_sparse.rules.single_weights import Weights
from keras_sparse.training.competing_masks import competing_counts, sensitivity_masks

FIRST, SECOND = [[4.0, -3.0, 0.5]], [[5.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    ("wanted", "costs", "counts"),
    [
        (3, None, [2, 1]),  # 5, 4, 3
        (4, None, [2, 2]),
        (4, [1, 1], [2, 2]),
        (6, [1, 3], [3, 1]),  # 5 costs 3, then 4, 3 and 0.5 cost 1 each
        (5, [1, 3], [2, 1]),
    ],
)
def test_the_largest_magnitudes_of_all_layers_are_counted(wanted, costs, counts):
    variables = [keras.Variable(value) for value in (FIRST, SECOND)]
    assert competing_counts(variables, wanted, Weights(), costs) == counts


def test_blocks_of_two_sizes_compete_for_weights():
    variables = [keras.Variable(value) for value in (FIRST, SECOND)]
    # blocks of 2 and 1 weights: each layer keeps its best one, and 2.0 is the next
    assert competing_counts(variables, 5, ks.Blocks(1, 2)) == [2, 3]


def masks_of(wanted, costs=None, structure=None, first=FIRST, second=SECOND):
    scores = {"a": np.abs(np.float32(first)), "b": np.abs(np.float32(second))}
    return sensitivity_masks(scores, wanted, structure or Weights(), costs)


def test_the_most_sensitive_weights_are_active():
    assert_same(masks_of(3), [[[True, True, False]], [[True, False, False]]])
    assert_same(masks_of(5, [1, 3]), [[[True, True, False]], [[True, False, False]]])


def test_groups_compete_by_the_mean_of_their_scores():
    first, second = [[4.0, 0.0], [1.0, 1.5]], [[2.0, 1.0], [0.5, 0.0]]
    masks = masks_of(4, structure=ks.Blocks(1, 2), first=first, second=second)
    assert_same(masks, [[[True, True], [False, False]], [[True, True], [False, False]]])


@pytest.mark.parametrize(
    ("second", "wanted", "is_told"),
    [([[1.0, 0.0, 0.0]], 5, True), ([[1.0, 0.0, 0.0]], 4, False), ([[1.0, 0.0, 0.0]], 6, False)],
)
def test_more_active_weights_than_informative_scores_are_told(second, wanted, is_told):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masks_of(wanted, second=second)
    assert [str(one.message)[:14] for one in caught] == ["Only 4 weights"] * is_told


def test_scores_that_are_all_zero_are_an_error():
    with pytest.raises(ValueError, match=r"All sensitivities are 0.*\['a', 'b'\]"):
        masks_of(1, first=[[0.0]], second=[[0.0, 0.0]])
