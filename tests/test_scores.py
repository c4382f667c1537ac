"""Scores and shares, and how rules are named."""

import numpy as np
import pytest

from keras_sparse.rules import scores
from keras_sparse.rules.masked_layer import MaskedLayer

LAYER = MaskedLayer(
    "net/dense/kernel",
    weight=np.array([[1.0, -3.0], [0.0, 0.0]]),
    mask=np.array([[True, True], [False, False]]),
    momentum=np.array([[2.0, -4.0], [6.0, -8.0]]),
    gradient=np.array([[0.5, 0.0], [-1.5, 2.0]]),
)
RNG = np.random.default_rng(0)


def test_scores_by_hand():
    np.testing.assert_array_equal(scores.magnitude(LAYER, RNG), [[1, 3], [0, 0]])
    np.testing.assert_array_equal(scores.momentum(LAYER, RNG), [[2, 4], [6, 8]])
    np.testing.assert_array_equal(scores.gradient(LAYER, RNG), [[0.5, 0], [1.5, 2]])


def test_random_depends_on_the_generator_alone():
    one, two = (scores.random(LAYER, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert len(np.unique(one)) == 4


def test_shares_count_active_weights_only():
    assert scores.mean_momentum(LAYER) == 3.0
    assert scores.mean_magnitude(LAYER) == 2.0
    assert scores.active_count(LAYER) == 2.0


def test_shares_of_a_layer_without_active_weights_are_zero():
    empty = MaskedLayer("empty", np.ones(3), np.zeros(3, bool), np.ones(3))
    assert [share(empty) for share in scores.SHARES.values()] == [0.0, 0.0, 0.0]


def test_weights_cost_one_each_where_nothing_else_is_said():
    assert MaskedLayer("plain", np.ones(2), np.ones(2, bool)).cost == 1


def test_arrays_are_read_when_asked_for_and_once():
    read = []

    def momentum():
        read.append("momentum")
        return np.ones(2)

    layer = MaskedLayer("lazy", np.ones(2), np.ones(2, bool), momentum)
    assert not read
    assert layer.momentum is layer.momentum
    assert read == ["momentum"]


def test_what_is_not_kept_raises():
    with pytest.raises(
        ValueError,
        match=r"asks for the gradient of 'plain'.*@keras_sparse.scores.needs\('gradient'\)",
    ):
        _ = MaskedLayer("plain", np.ones(2), np.ones(2, bool)).gradient


def test_rules_say_what_they_need():
    assert scores.needs_of(scores.magnitude, scores.gradient, scores.mean_momentum, None) == {
        "gradient",
        "momentum",
    }


@pytest.mark.parametrize(
    ("get", "rule"),
    [(scores.get_score, "mean_momentum"), (scores.get_share, "magnitude"), (scores.get_score, 3)],
)
def test_an_unknown_rule_lists_the_known(get, rule):
    with pytest.raises(ValueError, match=r"`grow` must be one of \[.*Received: grow="):
        get(rule, "grow")


def test_a_layer_shows_what_is_kept_of_it():
    ones = np.ones((2, 2))
    assert repr(MaskedLayer("a", ones, ones > 0)) == (
        "MaskedLayer('a', block_shape=None, of weight, mask)"
    )
    assert repr(MaskedLayer("a", ones, ones > 0, gradient=ones)).endswith("mask, gradient)")
