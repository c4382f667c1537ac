"""Values that an initializer may have drawn."""

import keras
import numpy as np
import pytest
from helpers import array

from keras_sparse.rules import initializer_law
from keras_sparse.rules.initializer_law import LAWS, follows_law, is_orthogonal


def draw(distribution, n, seed):
    initializer = keras.initializers.VarianceScaling(2.0, "fan_in", distribution, seed=seed)
    return array(initializer((8, n // 8))).reshape(-1), 2 / 8


@pytest.mark.parametrize("n", [64, 1024, 20_000])
@pytest.mark.parametrize("distribution", LAWS)
def test_every_draw_of_keras_follows_its_law(distribution, n):
    assert all(follows_law(*draw(distribution, n, seed), distribution) for seed in range(40))


@pytest.mark.parametrize("distribution", ["uniform", "truncated_normal"])
def test_a_little_noise_shows_at_the_bounds(distribution):
    values, variance = draw(distribution, 20_000, 0)
    noise = np.random.default_rng(0).normal(0, 0.005, values.shape)
    assert follows_law(values, variance, distribution)
    assert not follows_law(values + noise, variance, distribution)
    assert not follows_law(0.98 * values, variance, distribution)


@pytest.mark.parametrize("distribution", LAWS)
def test_other_laws_variances_and_sparse_weights_do_not_follow(distribution):
    values, variance = draw(distribution, 4096, 0)
    others = [draw(other, 4096, 0)[0] for other in LAWS if other != distribution]
    if distribution == "untruncated_normal":
        others = []  # has no bound that could tell
    shifted, sparse = values + 0.1, values * (np.arange(4096) % 10 > 0)
    for wrong in (*others, 1.2 * values, 0.8 * values, shifted, sparse, values[:32]):
        assert not follows_law(wrong, variance, distribution)


PAIRS = np.tile([-1.0, 1.0], 50)  # of mean 0 and variance 1; moments may be off by 5 / sqrt(100)
GRID = np.linspace(-1, 1, 1000)  # up to the bounds of a uniform law of variance 1 / 3


@pytest.mark.parametrize(
    ("values", "follows"),
    [
        (PAIRS, True),
        (PAIRS[:64], True),
        (PAIRS[:62], False),  # too few
        (PAIRS + 0.45, True),
        (PAIRS + 0.55, False),
        (PAIRS * 1.5**0.5, True),  # the square has the standard deviation sqrt(2): 0.5 / sqrt(2)
        (PAIRS * 1.8**0.5, False),
        (np.concatenate([np.tile(PAIRS, 100), [0.0]]), True),  # one zero of 10,001
        (np.concatenate([np.tile(PAIRS, 100), [0.0, 0.0]]), False),
    ],
)
def test_moments_and_zeros_by_hand(values, follows):
    assert follows_law(values, 1.0, "untruncated_normal") == follows


@pytest.mark.parametrize(
    ("values", "follows"),
    [
        (GRID, True),
        (GRID * 1.000009, True),  # rounding
        (GRID * 1.00002, False),  # beyond the bound
        (GRID * 0.981, True),
        (np.sign(GRID) * np.abs(GRID) ** 1.22, True),  # the mean square may be off by 14 %
        (np.sign(GRID) * np.abs(GRID) ** 1.27, False),
        (GRID * 0.979, False),  # of 1000 values one is within 20 / 1000 of the bound
    ],
)
def test_the_largest_value_is_near_the_bound_by_hand(values, follows):
    assert follows_law(values, 1 / 3, "uniform") == follows


def test_64_weights_are_enough_and_each_is_compared_with_the_gain():
    assert is_orthogonal(100 * np.eye(8), 100.0)
    assert not is_orthogonal(100.1 * np.eye(8), 100.0)
    assert not is_orthogonal(np.eye(7), 1.0)
    off = np.eye(8, k=1)
    assert is_orthogonal(100 * np.eye(8) + 0.005 * off, 100.0)  # a product of 0.5, of 100^2
    assert not is_orthogonal(100 * np.eye(8) + 0.02 * off, 100.0)
    assert is_orthogonal(0.01 * np.eye(8) + 5e-7 * off, 0.01)
    assert not is_orthogonal(0.01 * np.eye(8) + 2e-6 * off, 0.01)


def test_orthogonal_kernels_are_told_from_trained_ones():
    for shape in ((3, 3, 4, 8), (8, 32), (32, 8)):
        weight = array(keras.initializers.Orthogonal(1.5)(shape))
        assert is_orthogonal(weight, 1.5)
        assert not is_orthogonal(weight, 1.0)
        assert not is_orthogonal(weight + 0.01, 1.5)


@pytest.mark.parametrize(
    ("distribution", "fourth_moment"), [("uniform", 9 / 5), ("untruncated_normal", 3.0)]
)
def test_fourth_moments_at_variance_1(distribution, fourth_moment):
    assert initializer_law.LAWS[distribution].fourth_moment == fourth_moment
