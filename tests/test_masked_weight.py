"""One masked weight: its bits, and what a mask or a file leaves of what was ever active."""

import keras
import numpy as np
import pytest
from helpers import array, built, sparse

from keras_sparse.rules import mask_bits
from keras_sparse.training.checkpoint import SavedMask


@pytest.mark.parametrize(("weights", "words"), [(32, 1), (160, 5), (161, 6)])
def test_what_was_ever_active_takes_a_bit_a_weight_in_whole_words(weights, words):
    optimizer = sparse(density=0.5)
    optimizer.build([keras.Variable(np.ones((1, weights)), name="kernel")])
    (one,) = optimizer.masked_weights
    assert tuple(one.explored_variable.shape) == (words,)
    assert not one.explored_variable.trainable
    assert one.counts() == (weights // 2, weights // 2)


def test_a_mask_of_which_nothing_was_explored_leaves_nothing_explored():
    one = built().optimizer.masked_weights[0]
    new = ~one.mask
    one.explored_variable.assign(np.zeros(one.explored_variable.shape, "int32"))
    one.assign(new, keep_explored=True)
    np.testing.assert_array_equal(one.explored_bits(), mask_bits.pack(new))


def test_a_file_says_what_was_explored_or_its_mask_does():
    one = built().optimizer.masked_weights[0]
    mask, other = (np.arange(128).reshape(8, 16) % n == 0 for n in (4, 5))
    one.load(SavedMask(0, "a", mask, np.packbits(other)))
    np.testing.assert_array_equal(one.explored_bits(), np.packbits(mask | other))
    one.load(SavedMask(0, "a", mask))
    np.testing.assert_array_equal(one.explored_bits(), np.packbits(mask))
    np.testing.assert_array_equal(array(one.mask_variable), mask)
