"""A SavedModel with the compiled ops is served where neither keras nor keras_sparse is."""

import json

import keras
import numpy as np
import pytest
from helpers import toy_model
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute.library import LIBRARY, Availability
from keras_sparse.exporting import served_loader


def network():
    layers = [
        keras.layers.Conv2D(32, 3, padding="same", name="conv"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        keras.layers.Dense(32, name="dense"),
    ]
    model = keras.Sequential([keras.Input((8, 8, 16)), *layers])
    ks.prune(model, 0.1)
    return ks.sparsify(model, implementation="custom_op", verbose=False)


@needs_ops
def test_the_ops_are_served_without_this_library(tmp_path):
    """``export`` loads it in a process that cannot import keras and keras_sparse."""
    model, path = network(), tmp_path / "served"
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 16)).astype("float32")
    report = ks.export(model, path, custom_ops=True, sample=x, verbose=False, compare_dense=False)
    assert report.difference <= 1e-5
    assert report.runtime.endswith("without keras_sparse")
    assert (path / "assets" / LIBRARY).exists()
    served = served_loader.load(path)
    assert {"KerasSparse>Conv2D", "KerasSparse>MatMul"} <= {node.op for node in nodes_of(path)}
    wanted = model.predict(x, verbose=0)
    np.testing.assert_allclose(served.serve(x), wanted, rtol=1e-4, atol=1e-5)


def nodes_of(path):
    graph = served_loader.load(path).signatures["serving_default"].graph.as_graph_def()
    return [*graph.node, *(node for one in graph.library.function for node in one.node_def)]


@needs_ops
def test_inputs_and_outputs_may_have_dtypes_and_names_that_numpys_files_lack(tmp_path):
    inputs = keras.Input((64,), dtype="bfloat16", name="file")  # an argument of numpy.savez, too
    logits = keras.layers.Dense(2, dtype="bfloat16")(inputs)
    labels = keras.layers.StringLookup(vocabulary=["cat", "dog"], num_oov_indices=0, invert=True)
    model = keras.Model(inputs, [logits, labels(keras.ops.argmax(logits, -1))])
    model.layers[1].kernel.assign(np.eye(64, 2))
    sparse = ks.sparsify(model, implementation="custom_op", verbose=False)
    x = np.eye(2, 64)
    report = ks.export(sparse, tmp_path / "s", custom_ops=True, sample=x, verbose=False)
    assert report.difference == 0
    _, words = served_loader.load(tmp_path / "s").serve(x.astype(logits.dtype))
    assert words.numpy().tolist() == [b"cat", b"dog"]


@needs_ops
def test_small_variables_are_constants_of_the_served_graph(tmp_path, monkeypatch):
    settings = {"custom_ops": True, "compare_dense": False, "verbose": False}
    ks.export(network(), tmp_path / "constant", **settings)
    monkeypatch.setattr("keras_sparse.exporting.custom_ops.MOST_OF_A_CONSTANT", 32)
    ks.export(network(), tmp_path / "read", **settings)
    counts = [
        sum(node.op == "ReadVariableOp" for node in nodes_of(tmp_path / name))
        for name in ("constant", "read")
    ]
    assert counts == [0, 4]  # kernels and masks have more than 32 numbers, biases have not


@needs_ops
def test_a_variable_that_a_prediction_changes_stays_a_variable(tmp_path):
    class Counts(keras.layers.Layer):
        def build(self, _):
            self.calls = self.add_weight(shape=(1,), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.calls.assign_add([1.0])
            return inputs + self.calls

    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16), Counts()])
    ks.prune(model, 0.1)
    sparse = ks.sparsify(model, implementation="custom_op", verbose=False)
    sample, settings = np.zeros((1, 16), "float32"), {"compare_dense": False, "verbose": False}
    ks.export(sparse, tmp_path / "s", custom_ops=True, sample=sample, tolerance=9, **settings)
    served = served_loader.load(tmp_path / "s")
    first, second = (served.serve(sample).numpy()[0, 0] for _ in range(2))
    assert second - first == pytest.approx(1)


@needs_ops
def test_another_version_of_tensorflow_is_one_sentence(tmp_path):
    extra = tmp_path / "assets.extra"
    extra.mkdir()
    (extra / "keras_sparse.json").write_text(json.dumps({"tensorflow": "2.99", "library": "x"}))
    with pytest.raises(RuntimeError, match=r"built for TensorFlow 2.99, and this is .*: install"):
        served_loader.load(tmp_path)


def test_the_ops_are_for_saved_models_of_sparse_layers_where_they_are_available(
    tmp_path, monkeypatch
):
    sparse = ks.sparsify(toy_model(), verbose=False)
    with pytest.raises(ValueError, match="formats but 'saved_model'.*format='keras'"):
        ks.export(sparse, tmp_path / "m.keras", "keras", custom_ops=True)
    missing = Availability("they were left out")
    monkeypatch.setattr("keras_sparse.compute.library.available", lambda: missing)
    with pytest.raises(ValueError, match="`custom_ops` must be False here: .*they were left out"):
        ks.export(sparse, tmp_path / "served", custom_ops=True)


@needs_ops
def test_the_ops_need_sparse_layers(tmp_path):
    with pytest.raises(ValueError, match="`model` must have sparse layers.*ks.sparsify"):
        ks.export(toy_model(), tmp_path / "served", custom_ops=True)
