"""Masks in files: the bits by hand, and which of the two forms is written."""

import numpy as np
import pytest

from keras_sparse.rules import mask_bits


@pytest.mark.parametrize(("shape", "number"), [((), 1), ((8,), 1), ((3, 3), 2), ((2, 8), 2)])
def test_eight_weights_are_a_byte(shape, number):
    assert mask_bits.number_of_bytes(shape) == number
    assert mask_bits.pack(np.ones(shape, bool)).shape == (number,)


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8])
def test_bytes_as_words_come_back(length):
    bits = np.arange(1, length + 1, dtype=np.uint8)
    words = mask_bits.to_words(bits)
    assert (words.dtype, len(words)) == (np.int32, -(-length // 4))
    np.testing.assert_array_equal(mask_bits.from_words(words, length), bits)


def test_bits_at_missing_weights_come_back():
    mask = np.arange(33) % 3 == 0
    explored = mask | (np.arange(33) % 5 == 0)
    packed = mask_bits.pack_others(mask_bits.pack(explored), mask)
    np.testing.assert_array_equal(mask_bits.unpack_others(packed, mask), mask_bits.pack(explored))


def test_another_number_of_bits_is_an_error():
    for bits in (np.zeros(2, np.uint8), np.zeros((4, 2), bool)):
        with pytest.raises(ValueError, match=r"another shape.*for a weight of shape \(2, 4\)"):
            mask_bits.unpack(bits, (2, 4))


MASK = np.arange(64) % 2 == 0


@pytest.mark.parametrize(
    ("weight", "names"),
    [
        (MASK * 1.0, ["active_zeros"]),  # the nonzeros are the mask
        (np.where(np.arange(64) < 4, 0.0, MASK), ["active_zeros"]),  # two active zeros of 64
        (np.where(np.arange(64) < 6, 0.0, MASK), ["mask"]),  # three would take more than the bits
        (np.ones(64), ["mask"]),  # missing weights are not 0
        (np.where(np.arange(64) == 1, 5.0, MASK), ["mask"]),  # one of them is not
    ],
)
def test_the_smaller_form_that_tells_the_mask_is_written(weight, names):
    store = {}
    mask_bits.save_beside(weight, MASK, store)
    assert list(store) == names
    assert store[names[0]].dtype == (np.uint8 if names == ["mask"] else np.uint32)
    np.testing.assert_array_equal(mask_bits.load_beside(weight, store), MASK)


def test_two_zeros_of_63_weights_take_more_than_their_bits():
    store = {}
    mask_bits.save_beside(np.where(np.arange(63) < 4, 0.0, MASK[:63]), MASK[:63], store)
    assert list(store) == ["mask"]


def test_a_store_without_a_mask_has_none():
    assert mask_bits.load_beside(np.ones(3), {"other": 1}) is None
