"""Distributions give exact counts; expected ones are written out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_sparse.rules import density as densities
from keras_sparse.rules.exact_counts import largest_remainder

LENET = [(784, 300), (300, 100), (100, 10)]
SHAPES = st.lists(
    st.lists(st.integers(1, 12), min_size=2, max_size=4).map(tuple), min_size=1, max_size=6
)


def test_uniform_by_hand():
    assert densities.uniform(LENET, 0.05) == [11760, 1500, 50]


def test_uniform_total_is_exact_where_layers_round():
    assert densities.uniform([(1, 5)] * 4, 0.5) == [
        3,
        3,
        2,
        2,
    ]  # 2.5 each, 10 in all; ties to the lower index


def test_erk_by_hand():
    # sum / prod: 18 / 288 and 35 / 1152; times size: 18 and 35; 720 active weights: scale 720 / 53.
    assert densities.erdos_renyi_kernel([(3, 3, 4, 8), (3, 3, 8, 16)], 0.5) == [270, 450]


def test_erdos_renyi_of_a_convolution_ignores_the_taps():
    # (in + out) / (in * out): 12 / 32 and 24 / 128; times size 288 and 1152: 108 and 216.
    # 720 active: 240 and 480.
    assert densities.erdos_renyi([(3, 3, 4, 8), (3, 3, 8, 16)], 0.5) == [240, 480]


def test_a_layer_is_capped_and_the_others_take_the_rest():
    """The published start is not capped: 0.5 asked, 0.399 got."""
    counts = densities.erdos_renyi(LENET, 0.5)
    assert sum(counts) == round(0.5 * 266200)
    assert counts[1:] == [30000, 1000]


def test_a_layer_that_is_full_only_when_another_is_capped_too():
    """Densities 0.02, 0.04, 0.1, 0.5 times 9.9: the last is capped. Times 10.1: so is the third."""
    counts = densities.erdos_renyi([(100, 100), (50, 50), (20, 20), (4, 4)], 3445 / 12916)
    assert counts == [2019, 1010, 400, 16]  # 3445 - 416 are 3029, shared as 200 to 100


def test_no_layer_is_empty():
    counts = densities.erdos_renyi_kernel([(1000, 1000), (2, 2)], 0.00001)
    assert counts == [9, 1]


def test_fewer_active_weights_than_layers_raises():
    with pytest.raises(
        ValueError, match=r"fewer active weights \(1\) than layers \(2\).*Received: density=0.01"
    ):
        densities.uniform([(8, 8), (8, 8)], 0.01)


@given(SHAPES, st.floats(0.01, 1.0), st.sampled_from(sorted(densities.NAMED)))
def test_every_distribution_is_exact(shapes, density, name):
    sizes = [math.prod(shape) for shape in shapes]
    total = round(density * sum(sizes))
    if total < len(shapes):
        return
    counts = densities.NAMED[name](shapes, density)
    assert sum(counts) == total
    assert all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))


@pytest.mark.parametrize(
    ("wanted", "total", "capacity", "expected"),
    [
        ([2.5, 2.5, 0.5], 5, [9, 9, 9], [3, 2, 0]),  # ties go to the lower index
        ([2.2, 2.7, 0.1], 5, [9, 9, 9], [2, 3, 0]),
        ([3.0 - 1e-10, 1.0], 4, [9, 9], [3, 1]),
        ([3.0, 3.0], 4, [9, 9], [2, 2]),
        ([3.9, 3.0, 2.0], 7, [9, 9, 9], [3, 2, 2]),  # the smallest remainder gives one back
        ([0.0, 1.0], 0, [9, 9], [0, 0]),  # what has none gives none back
        ([0.0, 3.0], 1, [9, 9], [0, 1]),
        ([5.0, 0.0], 5, [2, 9], [2, 3]),
    ],
)
def test_largest_remainder_by_hand(wanted, total, capacity, expected):
    counts = largest_remainder(np.array(wanted), total, np.array(capacity))
    np.testing.assert_array_equal(counts, expected)


def test_the_first_glob_that_names_a_layer_counts_and_no_layer_is_empty():
    by_map = {"*": 0.2, "stem": 1.0}
    assert densities.active_counts(["stem/kernel"], [(10, 10)], 0.1, by_map) == [20]
    assert densities.active_counts(["stem/kernel"], [(10, 10)], 0.1, {"stem": 0.001}) == [1]


@pytest.mark.parametrize("density", [1, 1.0, np.float32(0.5)])
def test_numbers_of_every_kind_are_densities(density):
    densities.check_density(density)


def test_one_weight_a_layer_is_enough():
    assert densities.uniform([(8, 8), (8, 8)], 2 / 128) == [1, 1]


def test_a_map_names_layers_by_glob():
    names = ["net/stem/kernel", "net/dense/kernel", "net/head/kernel"]
    assert densities.active_counts(names, [(10, 10)] * 3, 0.1, {"stem": 1.0, "*head*": 0.5}) == [
        100,
        10,
        50,
    ]


@pytest.mark.parametrize("density", [0.0, -0.1, 1.5, float("nan"), True, "0.1", None])
def test_density_outside_its_range_raises(density):
    with pytest.raises(ValueError, match=r"`density` must be in \(0, 1\]. Received: density="):
        densities.active_counts(["a"], [(4, 4)], density)


@pytest.mark.parametrize("distribution", ["erdos", {"missing": 0.5}, {"a": 1.5}, {}, 3])
def test_a_distribution_that_cannot_be_raises(distribution):
    with pytest.raises(ValueError, match="`distribution"):
        densities.active_counts(["a"], [(4, 4)], 0.5, distribution)


@given(st.lists(st.floats(0, 50), min_size=1, max_size=8), st.data())
def test_largest_remainder_is_exact_and_within_capacity(wanted, data):
    capacity = np.array([data.draw(st.integers(0, 60)) for _ in wanted])
    total = data.draw(st.integers(0, int(capacity.sum())))
    counts = largest_remainder(np.array(wanted), total, capacity)
    assert counts.sum() == total
    assert ((counts >= 0) & (counts <= capacity)).all()
