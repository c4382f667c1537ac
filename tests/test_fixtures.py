"""Files of earlier versions load with all their contents, and train on; see fixtures/make.py."""

import importlib.util
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers import active, assert_same, assert_sparse, fit
from steps_by_hand import go_on

import keras_sparse as ks

FIXTURES = Path(__file__).parent / "fixtures"
KINDS = ["keras", "sparse"]  # of layers


@pytest.fixture(params=["0.1.0", "0.1.0.post1"])
def old(request):
    return FIXTURES / request.param


def maker():
    """tests/fixtures/make.py as a module."""
    spec = importlib.util.spec_from_file_location("make", FIXTURES / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make = maker()


def new(kind, build=True):
    """The network of the files with other weights and masks."""
    keras.utils.set_random_seed(1)
    model = make.network(kind)
    if build:
        model.optimizer.build(model)
    return model


def check(old, kind, model):
    """The state of a loaded model is that of the file, and a training goes on with it."""
    with np.load(old / f"{kind}.npz") as expected:
        state = {
            name.replace("mask:toy/", "mask:"): value for name, value in make.state(model).items()
        }
        expected = {name.replace("mask:toy/", "mask:"): value for name, value in expected.items()}
        assert sorted(state) == sorted(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(state[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    go_on(model)
    assert_sparse(model, count=48)


@pytest.mark.parametrize("kind", KINDS)
def test_models(old, kind):
    model = keras.models.load_model(old / f"{kind}.keras")
    check(old, kind, model)
    fit(model, ks.UpdateMasks(), epochs=2, data=make.data())
    assert_sparse(model, count=48)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_files(old, kind):
    model = new(kind)
    model.load_weights(old / f"{kind}.weights.h5")
    check(old, kind, model)


@pytest.mark.parametrize("kind", KINDS)
def test_tensorflow_checkpoints(old, kind):
    import tensorflow as tf

    model = new(kind)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    checkpoint.read(str(old / f"{kind}_checkpoint")).assert_existing_objects_matched()
    check(old, kind, model)


@pytest.mark.parametrize("kind", KINDS)
def test_backups(old, kind, tmp_path):
    shutil.copytree(old / f"{kind}_backup", tmp_path / "backup")
    model = new(kind, build=False)
    callbacks = [ks.UpdateMasks(), keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    history = fit(model, *callbacks, epochs=3, data=make.data())
    assert history.epoch == [2]
    assert model.optimizer.step() == 12
    assert active(model.optimizer) == 48


@pytest.mark.parametrize("kind", KINDS)
def test_models_that_were_frozen_in_part(old, kind):
    """Of these, version 0.1.0 wrote files that it could not load."""
    with pytest.warns(UserWarning, match="Skipping variable loading"):  # Keras' own
        model = keras.models.load_model(old / f"{kind}_frozen.keras")
    with np.load(old / f"{kind}.npz") as expected:
        assert_same(model.get_weights(), [expected[f"weight:{i}"] for i in range(4)])
        assert_same(list(model.optimizer.masks.values()), [expected["mask:toy/head/kernel"]])
    before = model.get_weights()[0]
    fit(model, ks.UpdateMasks(), data=make.data())
    assert_same(model.get_weights()[:1], [before])
    assert_sparse(model)
