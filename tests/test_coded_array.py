"""Arrays with zeros as bytes: they come back, take what their entropy is, and damage is found."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from keras_sparse.rules import coded_array
from keras_sparse.rules.coded_array import CodedArrayError, decoded, pieces


def there_and_back(array):
    found = [decoded(piece, array.dtype) for piece in pieces(array)]
    return np.concatenate(found) if found else np.empty(0, array.dtype)


@given(
    st.sampled_from([np.float32, np.float16, np.float64, np.int8, np.uint16, np.int64, bool])
    .flatmap(lambda dtype: arrays(dtype, st.integers(0, 200)))
    .filter(lambda array: array.dtype.kind != "f" or not np.signbit(array[array == 0]).any())
)
def test_every_array_comes_back_to_the_last_bit(array):
    assert there_and_back(array).tobytes() == array.tobytes()


def test_zeros_lose_their_sign_and_nothing_else_does():
    found = there_and_back(np.array([-0.0, 0.0, -1.0, np.nan, -np.inf], np.float32))
    np.testing.assert_array_equal(found, [0, 0, -1, np.nan, -np.inf])
    assert not np.signbit(found[:2]).any()


@pytest.mark.parametrize("density", [0.001, 0.01, 0.05, 0.1, 0.3, 0.5])
def test_the_places_of_a_random_mask_take_their_entropy(density):
    size = 200_000
    mask = np.random.default_rng(0).random(size) < density
    share = mask.mean()
    entropy = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    form, k, _, _, n_places, _ = coded_array.HEAD.unpack_from(next(pieces(mask)))
    assert 1.0 <= 8 * n_places / (size * entropy) < 1.05
    assert (form, k > 0) == (coded_array.RICE, density < 0.4)


def test_the_places_of_blocks_are_a_compressed_bitmap():
    blocks = np.random.default_rng(0).random((64, 1)) < 0.1
    mask = np.repeat(np.repeat(blocks, 64, 0), 64, 1)
    form, _, _, _, n_places, _ = coded_array.HEAD.unpack_from(next(pieces(mask)))
    assert form == coded_array.BITMAP
    assert n_places < 4096 / 8 / 4


def test_a_dense_array_has_no_places():
    form, _, size, count, n_places, _ = coded_array.HEAD.unpack_from(next(pieces(np.ones(9))))
    assert (form, size, count, n_places) == (coded_array.ALL, 9, 9, 0)


def test_large_arrays_are_coded_in_pieces(monkeypatch):
    monkeypatch.setattr(coded_array, "PIECE", 8)
    array = np.arange(20, dtype=np.float32).reshape(4, 5)
    assert len(list(pieces(array))) == 3
    np.testing.assert_array_equal(there_and_back(array), array.reshape(-1))


def test_damaged_bytes_raise_or_give_an_array():
    array = np.where(np.arange(500) % 7 == 0, np.arange(500), 0).astype(np.float32)
    piece = next(pieces(array))
    raised = 0
    for position in range(len(piece)):
        damaged = bytearray(piece)
        damaged[position] ^= 0x55
        try:
            decoded(bytes(damaged), array.dtype)
        except CodedArrayError:
            raised += 1
    assert raised > len(piece) / 2
    for length in (0, 5, coded_array.HEAD.size, len(piece) - 1):
        with pytest.raises(CodedArrayError, match="damaged"):
            decoded(piece[:length], array.dtype)


@pytest.mark.parametrize(
    ("array", "head"),
    [
        (np.ones(4, np.int8), (coded_array.ALL, 0, 4, 4)),
        (np.array([0, 0, 5, 0], np.int8), (coded_array.RICE, 0, 4, 1)),
        (np.repeat([1, 0], 500), (coded_array.BITMAP, 0, 1000, 500)),
        (np.eye(1, 1000, 999), (coded_array.RICE, 9, 1000, 1)),  # of 692.5: log2 is 9.4
    ],
)
def test_a_piece_begins_with_its_form_remainder_elements_and_nonzeros(array, head):
    piece = next(pieces(array))
    assert coded_array.HEAD.unpack_from(piece)[:4] == head
