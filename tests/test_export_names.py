"""Exports tell inputs from captured constants, and keep the order of outputs with numbers."""

import keras
import numpy as np
import pytest

import keras_sparse as ks
from keras_sparse.compute.library import why_no_custom_ops
from keras_sparse.exporting.ready_model import signature_of
from keras_sparse.exporting.sample import sample_for


def test_a_dict_of_samples_is_taken_by_the_names_of_inputs_in_a_list():
    inputs = [keras.Input((2,), name=name) for name in ("zeta", "alpha")]
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Concatenate()(inputs)))
    given = {"alpha": [[1.0, 2.0]], "more": [[5.0]], "zeta": [[3.0, 4.0]]}
    arrays = {name: np.array(values) for name, values in given.items()}
    found = sample_for(model, signature_of(model, None), arrays)
    assert [array.tolist() for array in found] == [[[3.0, 4.0]], [[1.0, 2.0]]]


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
    name, kind = ("m", {"custom_ops": True}) if custom_ops else ("m.tflite", {"format": "litert"})
    report = ks.export(model, tmp_path / name, verbose=False, compare_dense=False, **kind)
    assert report.difference < 1e-5
