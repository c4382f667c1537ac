"""An export that fails leaves what was there, and says which argument to change."""

import dataclasses
import importlib.util

import keras
import numpy as np
import pytest
from helpers import built, toy_model

import keras_sparse as ks
from keras_sparse.exporting import runtimes
from keras_sparse.exporting.checks import largest_difference
from keras_sparse.exporting.formats import FORMATS


def export(model, path, *arguments, **settings):
    return ks.export(model, path, *arguments, verbose=False, compare_dense=False, **settings)


def test_a_report_has_sizes_density_and_the_difference(tmp_path, capsys):
    model = keras.Sequential([keras.Input((100,)), keras.layers.Dense(100)])
    ks.prune(model, 0.1)
    report = ks.export(model, tmp_path / "model.keras", "keras")
    assert (report.format, report.dtype, report.density) == ("keras", "float32", 0.1)
    assert report.difference == 0.0
    assert report.sizes.bytes == (tmp_path / "model.keras").stat().st_size
    assert 4 * report.sizes.bytes_zipped < report.dense_sizes.bytes_zipped
    printed = capsys.readouterr().out
    for text in (f"{report.sizes.bytes_zipped:,}", "dense", "sparse", "Density 0.1000", "Keras"):
        assert text in printed
        assert text in str(report)
    assert report.as_dict()["sizes"]["bytes"] == report.sizes.bytes


def test_an_existing_path_is_replaced_only_if_asked(tmp_path):
    model, path = toy_model(), tmp_path / "model.keras"
    path.write_text("mine")
    with pytest.raises(ValueError, match="pass overwrite=True to replace what is there, or"):
        export(model, path, "keras")
    assert path.read_text() == "mine"
    export(model, path, "keras", overwrite=True)
    keras.saving.load_model(path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.keras"]


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    export(toy_model(), folder)  # an empty folder is free
    (folder / "more").write_text("mine")
    with pytest.raises(ValueError, match="overwrite=True"):
        export(toy_model(), folder)
    assert (folder / "more").read_text() == "mine"
    export(toy_model(), folder, overwrite=True)
    assert not (folder / "more").exists()
    assert [each.name for each in tmp_path.iterdir()] == ["served"]


class Positions(keras.layers.Layer):
    """Adds an array to each of at most five positions, as the encoders of KerasHub do."""

    def build(self, shape):
        self.table = self.add_weight(shape=(5, shape[-1]))

    def call(self, x):
        return x + self.table[: keras.ops.shape(x)[1]]


def test_a_model_that_cannot_take_random_inputs_asks_for_a_sample(tmp_path):
    words = keras.Input((None,), dtype="int32")
    model = keras.Model(words, Positions()(keras.layers.Embedding(8, 4)(words)))
    with pytest.raises(ValueError, match=r"^`sample` must be inputs .*sample=None.*\(2, 64\)"):
        export(model, tmp_path / "served")
    assert not any(tmp_path.iterdir())
    export(model, tmp_path / "served", sample=np.ones((2, 5)))


def test_a_file_that_predicts_something_else_is_not_kept(tmp_path, monkeypatch):
    path = tmp_path / "served"
    path.write_text("mine")
    monkeypatch.setattr(
        "keras_sparse.exporting.checked_file.largest_difference", lambda found, expected: 0.5
    )
    with pytest.raises(RuntimeError, match="predicts something else .* is 0.5 of the largest"):
        export(toy_model(), path, overwrite=True)
    assert path.read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["served"]


def test_outputs_of_other_shapes_are_told(tmp_path, monkeypatch):
    outputs = [np.zeros((5, 2))]
    monkeypatch.setattr(
        "keras_sparse.exporting.checked_file._written_and_run", lambda *_: (outputs, "A runtime")
    )
    with pytest.raises(RuntimeError, match=r"The shapes are \[\(5, 2\)\] in place of \[\("):
        export(toy_model(), tmp_path / "served")


class Sampling(keras.layers.Layer):
    """Adds random numbers in predictions too, as a variational autoencoder does."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator)


def random_model():
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(4), Sampling()])


@pytest.mark.parametrize("format_name", ["saved_model", "keras"])
def test_a_random_model_is_exported_with_its_random_state(format_name, tmp_path):
    model = ks.sparsify(random_model(), verbose=False)
    state = model.layers[1].seed_generator.state
    before = keras.ops.convert_to_numpy(state).copy()
    assert (
        export(
            model, tmp_path / ("m.keras" if format_name == "keras" else "m"), format_name
        ).difference
        < 1e-6
    )
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(state), before)


def test_a_model_that_differs_from_call_to_call_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "keras_sparse.exporting.checked_file.largest_difference", lambda found, expected: 0.5
    )
    with pytest.raises(RuntimeError, match="written. The model's own predictions differ from one"):
        export(random_model(), tmp_path / "served")
    with pytest.raises(RuntimeError, match="Nothing was written. Received"):
        export(toy_model(), tmp_path / "served")


def test_a_file_that_its_runtime_refuses_is_not_kept(tmp_path, monkeypatch):
    def refuse(ready, path):
        raise RuntimeError("failed to delegate CONV_2D node #3")

    refusing = dataclasses.replace(FORMATS["saved_model"], run=refuse)
    monkeypatch.setitem(FORMATS, "saved_model", refusing)
    with pytest.raises(RuntimeError, match="cannot run it, so it was removed: failed to delegate"):
        export(toy_model(), tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


def test_weights_outside_of_their_masks_are_an_error(tmp_path):
    model = built()
    kernel, mask = model.get_layer("hidden").kernel, model.optimizer.masks["toy/hidden/kernel"]
    kernel.assign(np.ones(kernel.shape, "float32"))
    with pytest.raises(ValueError, match="weights are not those of this sparse run"):
        export(model, tmp_path / "served")
    model.get_layer("hidden").trainable = False
    outside = int(np.count_nonzero(~mask))
    with pytest.raises(ValueError, match=f"zeros where its masks are False.*kernel with {outside}"):
        export(model, tmp_path / "served")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("m", {"format": "tflite"}, "`format` must be one of .*Received: format='tflite'"),
        ("m", {"format": 3}, "`format` must be one of .*Received: format=3"),
        ("m", {"format": "litert"}, "`path` must end with '.tflite'"),
        ("m.tflite", {}, "`path` must not end with '.tflite' for .*: pass format='litert'"),
        ("m.onnx", {}, "`path` must not end with '.onnx' for .*: pass format='onnx'"),
        ("m", {"format": "openvino"}, "`path` must end with '.xml'"),
        ("m", {"format": "keras"}, "`path` must end with '.keras'"),
        ("m", {"dtype": "int8"}, "`dtype` must be one of float32 for the format 'saved_model'"),
        ("m.tflite", {"format": "litert", "dtype": "int4"}, "`dtype` must be one of float32, fl"),
        ("m.tflite", {"format": "litert", "dtype": "int8"}, "`sample` must be a batch of your"),
        ("m", {"sample": np.zeros((2, 9))}, r"the shape \(None, 8\), .*Received: .*\(2, 9\)"),
        ("m", {"sample": np.zeros((0, 8))}, "at least one example"),
        ("m", {"sample": [np.zeros((2, 8))] * 2}, "one array for each of the model's 1 inputs"),
        ("m.keras", {"format": "keras", "custom_ops": True}, "formats but 'saved_model'"),
        ("m", {"tolerance": -1.0}, "`tolerance` must be 0 or larger. Received: tolerance=-1.0"),
        ("m", {"sample": {"b": np.zeros((2, 8))}}, "names of the model's inputs"),
        ("m", {"input_signature": (None, 8)}, "`input_signature` must hold .*=.None, 8."),
        ("m", {"input_signature": keras.InputSpec(ndim=2)}, "`input_signature` must hold"),
        ("m", {"sparsity": True}, "`sparsity` must be None for the format 'saved_model'"),
    ],
)
def test_wrong_arguments_are_errors_before_anything_is_written(path, arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export(toy_model(), tmp_path / path, **arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_path_elsewhere_is_an_error():
    with pytest.raises(ValueError, match="`path` must be a local file or folder"):
        export(toy_model(), "gs://bucket/served")


def test_a_missing_package_is_one_sentence_with_the_command_that_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"openvino. Install them: pip install openvino$"):
        export(toy_model(), tmp_path / "model.xml", "openvino")


@pytest.mark.parametrize(
    ("found", "expected", "difference"),
    [
        ([[1.0, 2.0]], [[1.0, 2.5]], 0.2),
        ([[0.1]], [[0.2]], 0.1),  # relative to 1
        ([[np.nan, 1.0]], [[np.nan, 1.0]], 0.0),
        ([[np.nan]], [[1.0]], np.inf),
        ([[np.inf]], [[-np.inf]], np.inf),
        ([[1.0]], [[1.0, 1.0]], np.inf),
        ([[1.0]], [[1.0], [1.0]], np.inf),
    ],
)
def test_the_largest_difference(found, expected, difference):
    arrays = [[np.array(each) for each in outputs] for outputs in (found, expected)]
    assert largest_difference(*arrays) == pytest.approx(difference)


def test_outputs_are_sorted_by_their_numbers():
    names = ["output_10", "output_2", "output_0"]
    assert sorted(names, key=runtimes.numbered) == ["output_0", "output_2", "output_10"]
