"""Counts of weights in whole groups: their total is the nearest."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_structure import STRUCTURES, shapes

from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure_arguments import as_structure
from keras_sparse.rules.whole_groups import to_whole_groups


@pytest.mark.parametrize(
    ("wanted", "shapes", "block_shape", "expected"),
    [
        ([22, 20], [(8, 8), (8, 8)], (4, 4), [32, 16]),  # 42 weights: 2.6 blocks of 16
        ([6, 9], [(4, 8), (4, 8)], (2, 2), [8, 8]),  # 1.5 and 2.25 blocks: the first is rounded up
        ([1152, 1152, 64], [(3, 3, 16, 32), (3, 3, 32, 16), (16, 16)], (4, 8), [1152, 1152, 64]),
        ([50, 50], [(3, 3, 8, 8), (5, 5, 8, 8)], (4, 4), [144, 400]),  # each layer has a block
        (
            [400, 32],
            [(3, 3, 16, 32), (16, 16)],
            (4, 8),
            [288, 128],
        ),  # 1.39 and 1 blocks: 13.5 of the small ones
    ],
)
def test_the_total_is_the_nearest_that_blocks_can_have(wanted, shapes, block_shape, expected):
    assert to_whole_groups(wanted, shapes, as_structure(block_shape)) == expected


def test_the_total_is_the_nearest_of_all():
    rng = np.random.default_rng(0)
    for _ in range(40):
        kernels = [
            () if k == 0 else (int(k), int(k))
            for k in rng.choice([0, 1, 3, 5], size=rng.integers(1, 4))
        ]
        shapes = [(*kernel, *(int(n) for n in 4 * rng.integers(1, 4, 2))) for kernel in kernels]
        most = [math.prod(shape) for shape in shapes]
        wanted = [max(1, round(rng.uniform(0.05, 1) * n)) for n in most]
        counts = to_whole_groups(wanted, shapes, Blocks(4, 4))
        sizes = [Blocks(4, 4).group_size(shape) for shape in shapes]
        assert all(
            count % size == 0 and size <= count <= n
            for count, size, n in zip(counts, sizes, most, strict=True)
        )
        reachable = itertools.product(
            *(range(size, n + 1, size) for size, n in zip(sizes, most, strict=True))
        )
        assert abs(sum(counts) - sum(wanted)) == min(
            abs(sum(one) - sum(wanted)) for one in reachable
        )


def test_layers_take_no_more_than_they_may():
    assert to_whole_groups([40, 40], [(8, 8), (8, 8)], Blocks(4, 4), at_most=[16, 64]) == [16, 64]
    assert to_whole_groups([7, 9], [(8, 8), (8, 8)], Weights()) == [7, 9]
    # 320 weights: 288 and one of 32; the other layer loses nothing that it cannot regrow
    assert to_whole_groups([250, 70], [(3, 3, 16, 32), (16, 16)], Blocks(4, 8), only_up=True) == [
        288,
        64,
    ]
    assert to_whole_groups([250, 70], [(3, 3, 16, 32), (16, 16)], Blocks(4, 8)) == [288, 32]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRUCTURES), st.lists(shapes(), min_size=1, max_size=4), st.data())
def test_counts_are_whole_groups_within_their_layers_near_the_total(structure, kernels, data):
    most = [math.prod(shape) for shape in kernels]
    wanted = [data.draw(st.integers(1, n)) for n in most]
    counts = to_whole_groups(wanted, kernels, structure)
    sizes = [structure.group_size(shape) for shape in kernels]
    units = [structure.unit(shape) for shape in kernels]
    bounds = zip(counts, sizes, units, most, strict=True)
    assert all(count % unit == 0 and size <= count <= n for count, size, unit, n in bounds)
    if sum(wanted) >= sum(sizes):  # else one group in each layer is more
        if set(units) == set(sizes):
            assert abs(sum(counts) - sum(wanted)) <= max(sizes) / 2
        else:  # never above: short by less than a group
            assert 0 <= sum(wanted) - sum(counts) < max(sizes)


def test_eight_groups_of_one_size_may_be_exchanged_for_eight_of_another():
    # 668 weights: 20 groups of 17 and 20 of 16 are 8 too few, and 8 are exchanged
    assert to_whole_groups([340, 328], [(40, 17), (40, 16)], Blocks(1, 17)) == [28 * 17, 12 * 16]
