"""Fixtures: the steps of mask updates, a dtype policy for one test, the custom ops that ran."""

import types

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.compute import op_call

collect_ignore = ["mutants"]  # needs cosmic-ray


@pytest.fixture
def updates(monkeypatch):
    """The optimizer steps at which masks were updated, in a list that grows."""
    steps, update_masks = [], ks.SparseMomentum.update_masks

    def noting(self):
        steps.append(self.step())
        update_masks(self)

    monkeypatch.setattr(ks.SparseMomentum, "update_masks", noting)
    return steps


@pytest.fixture
def policy():
    """Sets a dtype policy for one test: ``policy("mixed_float16")``."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture
def ran(monkeypatch):
    """A list that grows by (layer, weights of its kernel) at each run of a custom op."""
    import tensorflow as tf

    calls, real = [], op_call.custom_ops()

    def noting(op):
        def noted(inputs, kernel, *arguments, **attributes):
            call = attributes["layer"], int(np.prod(kernel.shape))
            note = tf.py_function(lambda: calls.append(call), [], [])
            with tf.control_dependencies([note] if note is not None else []):
                return op(inputs, kernel, *arguments, **attributes)

        return noted

    names = ("keras_sparse_conv2d", "keras_sparse_conv2d_input_gradient", "keras_sparse_mat_mul")
    noted = {name: noting(getattr(real, name)) for name in names}
    monkeypatch.setattr(op_call, "custom_ops", lambda: types.SimpleNamespace(**noted))
    return calls
