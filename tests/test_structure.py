"""Structures divide a kernel into groups of weights, and masks come back from them."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sparse.rules.blocks import Blocks, ChannelPairs
from keras_sparse.rules.channels import Channels
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure
from keras_sparse.rules.structure_arguments import as_structure

STRUCTURES = [
    Weights(),
    ChannelPairs(),
    Blocks(2, 1),
    Blocks(2, 2),
    Blocks(1, 1, per_tap=True),
    Blocks(2, 2, per_tap=True),
    Blocks(3, 5),
    Blocks(1, 8, per_tap=True),
    Channels("in"),
    Channels("out"),
]


def id_of(structure):
    return repr(structure)


@st.composite
def shapes(draw):
    """Of kernels, which blocks of two channels or three divide at times."""
    taps = draw(st.sampled_from([(), (3,), (2, 2), (3, 3)]))
    return (*taps, draw(st.integers(1, 8)), draw(st.integers(1, 8)))


def labels(structure, shape):
    """For each weight the number of its group."""
    grid = structure.grid(shape)
    numbers = np.arange(math.prod(grid)).reshape(grid)
    found = np.zeros(shape, int)
    for number in numbers.reshape(-1):
        found += number * structure.from_groups(numbers == number, shape)
    return found


# --- groups, and back


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRUCTURES), shapes())
def test_groups_are_a_partition_of_the_weights_into_parts_of_the_sizes_told(structure, shape):
    covered = sum(
        structure.from_groups(one.reshape(structure.grid(shape)), shape).astype(int)
        for one in np.eye(math.prod(structure.grid(shape)), dtype=bool)
    )
    assert (covered == 1).all()
    sizes = np.bincount(labels(structure, shape).reshape(-1))
    np.testing.assert_array_equal(sizes, structure.group_sizes(shape).reshape(-1))
    assert max(sizes) == structure.group_size(shape)
    assert structure.is_ragged(shape) == (len(set(sizes)) > 1)
    assert all(size % structure.unit(shape) == 0 for size in sizes)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRUCTURES), shapes(), st.integers(0, 1000))
def test_a_mask_made_of_groups_gives_the_groups_back(structure, shape, seed):
    groups = np.random.default_rng(seed).random(structure.grid(shape)) < 0.5
    mask = structure.from_groups(groups, shape)
    assert (mask.shape, mask.dtype) == (shape, bool)
    assert mask.flags.writeable
    np.testing.assert_array_equal(structure.active_groups(mask), groups)
    sums = structure.to_groups(mask)
    np.testing.assert_array_equal(sums, groups * structure.group_sizes(shape))
    structure.check_whole("kernel", mask)
    np.testing.assert_array_equal(structure.whole(mask), mask)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRUCTURES), shapes(), st.integers(0, 1000))
def test_group_values_are_the_sums_over_their_weights(structure, shape, seed):
    values = np.random.default_rng(seed).integers(-9, 10, shape)
    by_hand = np.bincount(labels(structure, shape).reshape(-1), values.reshape(-1))
    np.testing.assert_array_equal(structure.to_groups(values).reshape(-1), by_hand)
    divided = structure.group_sizes(shape).reshape(-1) if structure.is_ragged(shape) else 1
    np.testing.assert_array_equal(structure.scores(values).reshape(-1), by_hand / divided)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STRUCTURES), shapes(), st.integers(0, 1000))
def test_the_smallest_whole_mask_holds_the_groups_that_a_mask_touches(structure, shape, seed):
    mask = np.random.default_rng(seed).random(shape) < 0.1
    number = labels(structure, shape)
    by_hand = np.isin(number, np.unique(number[mask]))
    np.testing.assert_array_equal(structure.whole(mask), by_hand)


def test_sums_cover_all_taps_of_a_channel_block():
    kernel = np.arange(2 * 4 * 4, dtype=np.float64).reshape(2, 1, 4, 4)
    by_hand = np.array([[kernel[:, :, i : i + 2, o : o + 4].sum() for o in (0,)] for i in (0, 2)])
    np.testing.assert_array_equal(Blocks(2, 4).to_groups(kernel), by_hand)


def test_sums_per_tap_cover_one_tap_of_a_channel_block():
    kernel = np.arange(2 * 4 * 4, dtype=np.float64).reshape(2, 1, 4, 4)
    by_hand = np.array([[[[kernel[tap, 0, i : i + 2].sum()] for i in (0, 2)]] for tap in range(2)])
    np.testing.assert_array_equal(Blocks(2, 4, per_tap=True).to_groups(kernel), by_hand)


def test_a_mask_comes_back_as_whole_blocks():
    groups = np.array([[True, False], [False, True]])
    mask = Blocks(2, 2).from_groups(groups, (3, 4, 4))
    np.testing.assert_array_equal(mask[1], np.kron(np.eye(2), np.ones((2, 2))).astype(bool))
    assert mask.flags.writeable
    np.testing.assert_array_equal(Blocks(2, 2).to_groups(mask), [[12, 0], [0, 12]])


def test_single_weights_are_not_copied():
    kernel = np.ones((3, 4))
    assert Weights().to_groups(kernel) is kernel
    mask = kernel > 0
    assert Weights().whole(mask) is mask


def test_group_sizes():
    assert Weights().group_size((3, 3, 4, 4)) == 1
    assert ChannelPairs().group_size((3, 3, 4, 4)) == 9
    assert Blocks(2, 4).group_size((3, 3, 4, 4)) == 72
    assert Blocks(2, 4, per_tap=True).group_size((3, 3, 4, 4)) == 8


def test_blocks_per_tap_of_a_matrix_are_its_blocks():
    values = np.arange(32).reshape(4, 8)
    per_tap = Blocks(2, 4, per_tap=True).to_groups(values)
    np.testing.assert_array_equal(per_tap, Blocks(2, 4).to_groups(values))


# --- what is refused


@pytest.mark.parametrize("block_shape", [(0, 1), (2,), 4, (2, 2, 2), (1.5, 2), (True, 1)])
def test_a_block_shape_that_cannot_be_raises(block_shape):
    with pytest.raises(ValueError, match="`block_shape` must be None or two positive integers"):
        as_structure(block_shape)


@pytest.mark.parametrize("channels", [(0, 1), (-1, 2), (1.5, 2), (True, 1), ("2", 2)])
def test_blocks_of_channels_that_cannot_be_raise(channels):
    with pytest.raises(ValueError, match="`in_` and `out` must be positive integers"):
        Blocks(*channels)


def test_per_tap_must_be_a_bool():
    with pytest.raises(ValueError, match="`per_tap` must be a bool. Received: per_tap=2"):
        Blocks(2, 2, 2)


@pytest.mark.parametrize("structure", ["blocks", (4, 4), {"kind": "stripes"}, {"in_": 4}, Blocks])
def test_what_is_no_structure_raises(structure):
    with pytest.raises(ValueError, match="`structure` must be None or a structure.*Received: str"):
        as_structure(structure=structure)


def test_both_a_structure_and_its_short_form_raise():
    with pytest.raises(ValueError, match=r"pass one of the two. Received: block_shape=\(4, 4\)"):
        as_structure((4, 4), Blocks(4, 4))


def test_the_last_block_of_an_axis_holds_the_channels_that_are_left():
    sizes = Blocks(4, 4).group_sizes((3, 3, 6, 10))
    np.testing.assert_array_equal(sizes, 9 * np.array([[16, 16, 8], [8, 8, 4]]))
    assert Blocks(4, 4).grid((512, 10)) == (128, 3)
    per_tap = Blocks(4, 4, per_tap=True)
    assert (per_tap.group_size((3, 3, 3, 16)), per_tap.is_ragged((3, 3, 3, 16))) == (12, False)
    mask = Blocks(2, 4).from_groups(np.array([[False, True], [True, False]]), (3, 6))
    by_hand = [[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 0, 0]]
    np.testing.assert_array_equal(mask, by_hand)


def test_blocks_of_different_sizes_are_ranked_by_the_mean_of_their_weights():
    values = np.array([[1.0, 1.0, 1.0, 1.0, 2.0]])
    np.testing.assert_array_equal(Blocks(1, 4).to_groups(values), [[4, 2]])
    np.testing.assert_array_equal(Blocks(1, 4).scores(values), [[1, 2]])
    np.testing.assert_array_equal(Blocks(1, 4).scores(values[:, :4]), [[4]])


def test_weights_without_two_axes_have_no_blocks():
    message = r"`block_shape` needs.*block_shape=\(2, 4\) for 'norm/gamma' of shape \(8,\).*dense="
    with pytest.raises(ValueError, match=message):
        Blocks(2, 4).check("norm/gamma", (8,))
    with pytest.raises(ValueError, match=r"`structure` needs.*structure=Blocks\(2, 4, per_tap=Tru"):
        Blocks(2, 4, per_tap=True).check("norm/gamma", (8,))
    assert Blocks(2, 4).why_not((8, 10)) is None
    assert Blocks(2, 4).why_not((8,)) == "it has 1 axes, fewer than two"
    assert Weights().why_not((8,)) is None


def test_a_block_that_is_active_in_part_raises():
    mask = np.zeros((2, 4, 4), bool)
    mask[1, 0, 3] = True
    whole = Blocks(2, 2).whole(mask)
    np.testing.assert_array_equal(whole[0], np.kron([[0, 1], [0, 0]], np.ones((2, 2))).astype(bool))
    Blocks(2, 2).check_whole("kernel", whole)
    message = (
        r"'kernel' is not made of whole blocks.*\(2, 2\).*"
        "Received: 1 of 4 blocks are active in part"
    )
    with pytest.raises(ValueError, match=message):
        Blocks(2, 2).check_whole("kernel", mask)
    with pytest.raises(ValueError, match="Received: 1 of 8 blocks"):
        Blocks(2, 2, per_tap=True).check_whole("kernel", mask)


def test_a_block_at_the_edge_that_is_active_in_part_raises():
    mask = np.zeros((3, 5), bool)
    mask[2, 4] = True  # the corner: a block of one weight
    Blocks(2, 2).check_whole("kernel", mask)
    mask[0, 4] = True  # a block of two
    with pytest.raises(ValueError, match="Received: 1 of 6 blocks are active in part"):
        Blocks(2, 2).check_whole("kernel", mask)


# --- values, configs, messages


@pytest.mark.parametrize("structure", STRUCTURES, ids=id_of)
def test_a_structure_comes_back_from_config_arguments_copies_and_pickles(structure):
    again = [
        as_structure(structure=structure.get_config()),
        as_structure(**structure.as_arguments()),
        as_structure(structure=structure),
        copy.deepcopy(structure),
        pickle.loads(pickle.dumps(structure)),
        eval(repr(structure)),  # our own text
    ]
    assert all(one == structure and hash(one) == hash(structure) for one in again)


def test_different_structures_are_not_equal():
    assert len(set(STRUCTURES)) == len(STRUCTURES)
    assert Blocks(1, 1) == ChannelPairs()
    assert Blocks(2, 2) != (2, 2)
    assert isinstance(ChannelPairs(), Structure)


def test_a_structure_cannot_be_changed():
    for structure in (Blocks(2, 2), ChannelPairs(), Weights()):
        with pytest.raises(AttributeError):
            structure.in_ = 4


def test_arguments_are_those_of_before_where_they_can_be():
    assert Weights().as_arguments() == {"block_shape": None}
    assert ChannelPairs().as_arguments() == {"block_shape": (1, 1)}
    assert Blocks(4, 8).as_arguments() == {"block_shape": (4, 8)}
    config = {"kind": "blocks", "in_": 4, "out": 8, "per_tap": True}
    assert Blocks(4, 8, per_tap=True).as_arguments() == {"block_shape": None, "structure": config}
    assert as_structure([4, 8]) == Blocks(4, 8)  # as JSON gives it
    assert as_structure(None) == Weights()
    assert isinstance(as_structure((1, 1)), ChannelPairs)


def test_messages_name_a_structure_as_it_is_given():
    assert str(Weights()) == "block_shape=None"
    assert str(ChannelPairs()) == "block_shape=(1, 1)"
    assert str(Blocks(4, 8)) == "block_shape=(4, 8)"
    assert str(Blocks(4, 8, per_tap=True)) == "structure=Blocks(4, 8, per_tap=True)"
