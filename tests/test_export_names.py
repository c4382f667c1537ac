"""Exports tell inputs from captured constants, and keep the order of outputs with numbers."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.compute.library import why_no_custom_ops


@pytest.mark.parametrize("custom_ops", [True, False])
def test_an_adapted_normalization_and_outputs_with_numbered_names(custom_ops, tmp_path):
    if custom_ops and why_no_custom_ops() is not None:
        pytest.skip("needs the compiled ops")
    normalization = keras.layers.Normalization()
    normalization.adapt(np.array([[0.0, 1.0], [2.0, 5.0]]))
    inputs = keras.Input((2,))
    hidden = normalization(inputs)
    outputs = {name: keras.layers.Dense(2)(hidden) for name in ("a2", "a10")}
    model = ks.sparsify(keras.Model(inputs, outputs), verbose=False)
    kind = {"custom_ops": True} if custom_ops else {"format": "litert"}
    report = ks.export(model, tmp_path / "m.tflite", verbose=False, compare_dense=False, **kind)
    assert report.difference < 1e-5
