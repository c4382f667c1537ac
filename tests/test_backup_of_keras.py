"""Folders of Keras' own BackupAndRestore are read, wherever it was killed, and it reads ours."""

import keras
import pytest
from backups import (
    KERAS_OWN,
    METADATA,
    STEPS,
    WEIGHTS,
    back_up,
    callback_of,
    counting_model,
    kills,
    resume,
    train_to,
    unclosed,
)
from helpers import array


@pytest.fixture(scope="module")
def model():
    return counting_model()


@unclosed
@pytest.mark.filterwarnings("ignore:Resumed from:UserWarning")
@pytest.mark.parametrize("double", [False, True])
def test_a_folder_of_keras_is_read_whenever_keras_was_killed(model, tmp_path, double):
    folders = kills(
        model,
        tmp_path,
        double,
        KERAS_OWN,
        lambda folder: back_up(model, folder, 3, KERAS_OWN, double_checkpoint=double),
    )
    seen = {resume(model, folder) for folder in folders}
    assert {(2, 2), (3, 3)} <= seen <= {(1, 1), (2, 2), (3, 3)}


def test_an_empty_metadata_file_of_keras_gives_way_to_the_older_backup(model, tmp_path):
    for epoch in (1, 2):
        back_up(model, tmp_path, epoch, KERAS_OWN, double_checkpoint=True)
    (tmp_path / METADATA).write_bytes(b"")
    with pytest.warns(UserWarning, match="bkp at epoch 1: .*training_metadata.json is not whole"):
        assert resume(model, tmp_path) == (1, 1)


@pytest.mark.parametrize(("before", "steps", "epoch"), [(0, STEPS, 2), (1, STEPS, 1), (0, None, 0)])
def test_weights_without_an_epoch_are_not_lost(model, tmp_path, before, steps, epoch):
    back_up(model, tmp_path, 2, keras.callbacks.BackupAndRestore)
    (tmp_path / METADATA).write_bytes(b"")
    train_to(model, before)  # steps of an earlier `fit`, which is no part of this one
    callback = callback_of(model, tmp_path)
    callback.params["steps"] = steps
    with pytest.warns(UserWarning, match="training_metadata.json is not whole"):
        callback.on_train_begin()
    assert array(model.weights[0]) == 2
    assert model._initial_epoch == epoch


def test_the_older_weights_without_an_epoch_take_the_place_of_broken_ones(model, tmp_path):
    for epoch in (1, 2):
        back_up(model, tmp_path, epoch, KERAS_OWN, double_checkpoint=True)
    for path in (*tmp_path.glob(f"{METADATA}*"), tmp_path / WEIGHTS):
        path.write_bytes(b"")
    with pytest.warns(UserWarning, match="bkp at epoch 1, counted in its steps: .*not whole"):
        assert resume(model, tmp_path) == (1, 1)
    with pytest.warns(UserWarning, match="latest.weights.h5 at epoch 1, counted in its steps"):
        assert resume(model, tmp_path) == (1, 1)


def test_keras_reads_what_we_write(model, tmp_path):
    back_up(model, tmp_path, 2)
    train_to(model, 0)
    callback_of(model, tmp_path, keras.callbacks.BackupAndRestore).on_train_begin()
    assert (model._initial_epoch, array(model.weights[0])) == (2, 2)
    back_up(model, tmp_path, 3, keras.callbacks.BackupAndRestore)
    assert resume(model, tmp_path) == (3, 3)


def test_weights_beside_which_no_epoch_was_written_are_not_lost(model, tmp_path):
    back_up(model, tmp_path, 2, KERAS_OWN)
    (tmp_path / METADATA).unlink()
    with pytest.warns(UserWarning, match="latest.weights.h5 at epoch 2, counted in its steps"):
        assert resume(model, tmp_path) == (2, 2)
