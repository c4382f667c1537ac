"""Compressed files: every kind of model comes back, they are small, and damage is found."""

import zipfile

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same, compiled, fit, toy_model
from model_kinds import KINDS

import keras_sparse as ks

backend = pytest.mark.backend
COPIED = ["adapted", "branches_and_shared_layers", "frozen_in_part", "policies", "vocabularies"]


def wide(density=0.1):
    """A dense layer of 256x256, whose zeros are a mask."""
    model = keras.Sequential([keras.Input((256,)), keras.layers.Dense(256, name="wide")])
    ks.prune(model, density)
    return model


@backend
@pytest.mark.parametrize("optimizer", [False, True])
def test_a_trained_model_comes_back_with_its_masks(tmp_path, optimizer):
    model = compiled(model=ks.sparsify(toy_model()))
    fit(model, ks.UpdateMasks())
    ks.save_compressed(model, tmp_path / "model.sparse", optimizer=optimizer)
    loaded = ks.load_compressed(tmp_path / "model.sparse")
    assert_same(arrays(loaded.weights), arrays(model.weights))
    assert [type(layer) for layer in loaded.layers] == [type(layer) for layer in model.layers]
    assert ks.density(loaded) == ks.density(model)
    assert loaded.compiled == optimizer


@backend
def test_a_training_goes_on_where_it_was_saved(tmp_path):
    model = compiled()
    fit(model, ks.UpdateMasks(), epochs=2)
    ks.save_compressed(model, tmp_path / "model.sparse", optimizer=True)
    loaded = ks.load_compressed(tmp_path / "model.sparse")
    for each in (model, loaded):
        fit(each, ks.UpdateMasks(), epochs=2)
    assert_same(arrays(loaded.weights), arrays(model.weights))
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))


@pytest.mark.parametrize("kind", COPIED)
def test_models_of_every_kind_come_back(tmp_path, kind):
    make, inputs = KINDS[kind]
    model = make()
    before = model(inputs)
    ks.save_compressed(model, tmp_path / "model.sparse")
    after = ks.load_compressed(tmp_path / "model.sparse", safe_mode=False)(inputs)
    for one, other in zip(keras.tree.flatten(before), keras.tree.flatten(after), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


@backend
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_values_are_rounded_and_stay_nonzero(tmp_path, dtype):
    model = wide()
    kernel = array(model.layers[0].kernel)
    row, column = np.argwhere(kernel != 0)[0]
    kernel[row, column] = -1e-44  # vanishes in either
    model.layers[0].kernel.assign(kernel)
    ks.save_compressed(model, tmp_path / "model.sparse", dtype=dtype)
    loaded = array(ks.load_compressed(tmp_path / "model.sparse").layers[0].kernel)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded != 0, kernel != 0)
    assert -1e-7 < loaded[row, column] < 0
    precision = 2.0 ** (-11 if dtype == "float16" else -8)
    np.testing.assert_allclose(loaded, kernel, rtol=precision, atol=6e-8)


@pytest.mark.parametrize(("dtype", "share"), [("float32", 0.8), ("float16", 0.5)])
def test_files_are_smaller_than_zip_makes_them(tmp_path, dtype, share):
    model = wide()
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as target:
        target.write(tmp_path / "model.keras")
    ks.save_compressed(model, tmp_path / "model.sparse", dtype=dtype)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes["model.sparse"] < share * sizes["zip"]


DAMAGES = {
    "one byte": lambda content, at, rng: (
        content[:at] + bytes([content[at] ^ int(rng.integers(1, 256))]) + content[at + 1 :]
    ),
    "the end lost": lambda content, at, rng: content[:at],
    "zeros": lambda content, at, rng: (
        content[:at] + bytes(len(content[at : at + 40])) + content[at + 40 :]
    ),
    "bytes lost": lambda content, at, rng: content[:at] + content[at + int(rng.integers(1, 64)) :],
    "bytes more": lambda content, at, rng: content[:at] + rng.bytes(20) + content[at:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_raise_and_load_nothing_else(tmp_path, damage):
    model = wide()
    model.compile("sgd", "mse")
    path, damaged = tmp_path / "model.sparse", tmp_path / "damaged"
    ks.save_compressed(model, path, optimizer=True)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    told = 0
    for _ in range(200):
        at = int(rng.integers(len(content)))
        damaged.write_bytes(DAMAGES[damage](content, at, rng))
        try:
            loaded = ks.load_compressed(damaged)
        except ValueError as error:
            assert "undamaged file of `ks.save_compressed`" in str(error)  # noqa: PT017
            told += 1
        else:  # zip files hold a few bytes that nobody reads, such as dates
            assert_same(arrays(loaded.weights), arrays(model.weights))
    assert told > 190


def test_other_files_are_named(tmp_path):
    wide().save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"undamaged file of `ks.save_compressed`.*model\.keras"):
        ks.load_compressed(tmp_path / "model.keras")
    with pytest.raises(FileNotFoundError):
        ks.load_compressed(tmp_path / "none")


def test_a_failed_save_leaves_the_file_that_was_there(tmp_path):
    model = wide()
    path = tmp_path / "model.sparse"
    ks.save_compressed(model, path)
    before = path.read_bytes()
    kernel = array(model.layers[0].kernel)
    kernel[0, 0] = 1e6
    model.layers[0].kernel.assign(kernel)
    with pytest.raises(
        ValueError, match=r"at most 65504 for float16. Received: 1e\+06 in '/layers"
    ):
        ks.save_compressed(model, path, dtype="float16")
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["model.sparse"]


def test_where_nothing_can_be_written_is_known_before_the_model_is_saved(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(keras.Model, "save", None)
    for path, error in (("file/model.sparse", FileExistsError), (".", IsADirectoryError)):
        with pytest.raises(error):
            ks.save_compressed(wide(), tmp_path / path)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_wrong_arguments_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"`dtype` must be .*Received: dtype='int8'"):
        ks.save_compressed(wide(), tmp_path / "a", dtype="int8")
    with pytest.raises(ValueError, match="`model` must have weights"):
        ks.save_compressed(keras.Sequential([keras.layers.Dense(2)]), tmp_path / "a")
