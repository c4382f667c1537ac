"""``python -m keras_sparse export`` writes a file, or says in one sentence why it cannot."""

import json

import keras
import numpy as np
import pytest
from helpers import toy_model

import keras_sparse as ks
from keras_sparse.__main__ import main
from keras_sparse.commands.file_arguments import EXPORT_FORMATS
from keras_sparse.exporting.formats import FORMATS


def test_the_parser_knows_all_formats():
    assert set(EXPORT_FORMATS) == set(FORMATS)


@pytest.mark.parametrize("name", ["model.keras", "model.sparse"])
def test_a_file_of_sparse_layers_becomes_a_saved_model(name, tmp_path, capsys):
    import tensorflow as tf

    model, x = ks.sparsify(toy_model(), verbose=False), np.ones((2, 8), "float32")
    path = tmp_path / name
    model.save(path) if name == "model.keras" else ks.save_compressed(model, path)
    assert main(["export", str(path), "--format", "saved_model", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["path"] == str(tmp_path / "model")
    assert report["difference"] <= 1e-5
    served = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(served.serve(x), model.predict(x, verbose=0), rtol=1e-5)


def test_the_output_and_the_sample_can_be_named(tmp_path, capsys):
    toy_model().save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", np.ones((3, 8)))
    words = ["export", str(tmp_path / "model.keras"), "--format", "keras"]
    words += ["--sample", str(tmp_path / "x.npy"), "--output", str(tmp_path / "new.keras")]
    assert main(words) == 0
    assert "Density 1.0000" in capsys.readouterr().out
    keras.saving.load_model(tmp_path / "new.keras")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.keras", "--format", "keras"], "--overwrite to a command"),
        (["model.keras", "--format", "litert", "--dtype", "int8"], "`sample` must be a batch"),
        (["model.keras", "--format", "keras", "--import", "no_module"], "'no_module' was not"),
        (["none.keras", "--format", "keras"], "The file must exist"),
        (["x.npy", "--format", "keras"], "The file must hold a model"),
        (["", "--format", "keras"], "The file must hold a model"),
        (["model.keras", "--format", "keras", "--sample", "."], "`--sample` must name a .npy file"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_2(words, message, tmp_path, capsys):
    toy_model().save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", np.ones(3))
    assert main(["export", str(tmp_path / words[0]), *words[1:]]) == 2
    assert message in capsys.readouterr().err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["model.keras", "x.npy"]


@pytest.mark.parametrize("name", ["model.keras", "model.sparse"])
def test_a_class_that_nobody_has_registered_is_asked_for(name, tmp_path, capsys):
    class Own(keras.layers.Dense):
        pass

    model, path = keras.Sequential([keras.Input((4,)), Own(2)]), tmp_path / name
    model.save(path) if name == "model.keras" else ks.save_compressed(model, path)
    assert (
        main(["export", str(path), "--format", "keras", "--output", str(tmp_path / "o.keras")]) == 2
    )
    assert "name the module that registers them by --import" in capsys.readouterr().err


def test_a_sample_of_several_arrays_is_refused(tmp_path, capsys):
    toy_model().save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", np.ones((3, 8)))
    words = ["export", str(tmp_path / "model.keras"), "--format", "litert"]
    assert main([*words, "--sample", str(tmp_path / "x.npz")]) == 2
    assert "it is a file of several arrays" in capsys.readouterr().err


def test_an_older_file_of_a_model_is_exported(tmp_path):
    model, x = toy_model(), np.ones((2, 8), "float32")
    model.save(tmp_path / "model.h5")
    words = ["export", str(tmp_path / "model.h5"), "--format", "keras"]
    assert main(words) == 0
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), model(x))
