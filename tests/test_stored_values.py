"""Weights are read as they are stored, also while the call of a 16-bit layer goes on."""

import keras
import numpy as np
import pytest
from helpers import array

import keras_sparse as ks

MASK = np.tri(8, dtype=bool)
SMALL = 1e-9  # 0 in float16


class Late(keras.layers.Layer):
    """Builds a sparse layer in its own call, with weights and a mask of the user's."""

    def __init__(self, weights, mask=None, **settings):
        super().__init__(**settings)
        self.inner = ks.layers.SparseDense(8)
        self.given, self.mask = weights, mask

    def build(self, input_shape):
        """Else Keras runs the call once to build the layer, and drops what it assigns."""

    def call(self, inputs):
        if not self.inner.built:
            self.inner.build(inputs.shape)
            self.inner.kernel.assign(self.given)
            if self.mask is not None:
                self.inner.set_mask(self.mask)
        return self.inner(inputs)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_a_mask_that_is_set_in_a_call_leaves_the_active_weights(dtype):
    weights = np.linspace(0.1, 0.2, 64, dtype="float32").reshape(8, 8)
    layer = Late(weights, MASK, dtype=dtype)
    layer(np.ones((2, 8)))
    np.testing.assert_array_equal(array(layer.inner.kernel), np.where(MASK, weights, 0))


def test_weights_that_are_0_in_16_bits_alone_stay_active():
    weights = np.where(MASK, SMALL, 0).astype("float32")
    weights[0, 0] = 1.0
    layer = Late(weights, dtype="mixed_float16")
    layer(np.ones((2, 8)))
    np.testing.assert_array_equal(array(layer.inner.mask), MASK)
