"""One threshold on the scores of all layers: counts by hand."""

import numpy as np
import pytest

from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.scores import magnitude, random


def layers_of(*weights, **settings):
    """Layers a, b, ... of these weights; zeros are missing."""
    arrays = [np.array(weight, float) for weight in weights]
    names = "abc"[: len(arrays)]
    return [
        MaskedLayer(name, array, array != 0, **settings)
        for name, array in zip(names, arrays, strict=True)
    ]


def counts(layers, wanted, score=magnitude, rng=None):
    return global_counts(layers, wanted, score, rng or np.random.default_rng(0))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(1, [1, 1]), (2, [1, 1]), (3, [2, 1]), (4, [2, 2]), (5, [3, 2]), (6, [3, 2]), (9, [3, 2])],
)
def test_the_largest_of_all_layers_stay_and_one_of_each(wanted, expected):
    assert counts(layers_of([9, 8, 1, 0], [0, 2, 3, 0]), wanted) == expected


def test_ties_go_to_the_earlier_layer():
    assert counts(layers_of([5, 2, 2], [5, 2, 2]), 4) == [3, 1]


def test_a_layer_without_an_active_weight_gets_none():
    assert counts(layers_of([9, 8, 1], [0, 0]), 2) == [2, 0]


def test_one_nan_is_an_error_that_names_the_layer():
    with pytest.raises(ValueError, match=r"must not be NaN.*Received: NaN in \['b'\]"):
        counts(layers_of([9, 8], [1, np.nan, 3]), 2)


def test_blocks_compete_by_the_mean_of_their_weights():
    layers = layers_of([[1, 9, 4, 4], [1, 9, 4, 4]], [[3, 3], [3, 9]], block_shape=(2, 2))
    # means 5 and 4; 4.5
    found = [counts(layers, wanted) for wanted in (1, 9, 10, 12)]
    assert found == [[4, 4], [4, 4], [8, 4], [8, 4]]


def test_groups_of_two_sizes_are_kept_to_the_nearest():
    small = MaskedLayer("small", np.array([[9.0, 1.0, 5.0]]), np.ones((1, 3), bool))
    tall = np.array([[7.0, 2.0]] * 4)
    large = MaskedLayer("large", tall, np.ones((4, 2), bool), structure=Blocks(4, 1))
    # by mean: one of each first, 5 of the small one, 2 of the large one, 1 of the small one
    found = [counts([small, large], wanted) for wanted in (1, 5, 6, 7, 8, 10, 11)]
    assert found == [[1, 4], [1, 4], [2, 4], [2, 4], [2, 8], [2, 8], [3, 8]]


def test_the_same_random_scores_come_again_when_masks_are_made():
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    counts(layers_of([1, 1, 1], [1, 1]), 3, random, rng)
    assert rng.random() == other.random()
