"""BackupAndRestore survives a kill before any of its lines, and reads broken folders."""

import inspect
import itertools
import os
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from backups import (
    KERAS_OWN,
    METADATA,
    OURS,
    WEIGHTS,
    back_up,
    callback_of,
    counting_model,
    killed_before,
    kills,
    resume,
    tear,
    unclosed,
)
from helpers import array

import keras_sparse as ks
from keras_sparse.training import backup


@pytest.fixture(scope="module")
def model():
    return counting_model()


# --- kills


@unclosed
@pytest.mark.parametrize("double", [False, True])
def test_a_kill_before_any_line_of_a_backup_leaves_a_whole_one(model, tmp_path, double):
    folders = kills(
        model,
        tmp_path,
        double,
        OURS,
        lambda folder: back_up(model, folder, 3, double_checkpoint=double),
    )
    seen = [resume(model, folder) for folder in folders]  # without a warning
    assert seen == sorted(seen)  # the old backup up to some line, the new one from there on
    assert set(seen) == {(2, 2), (3, 3)}


@unclosed
def test_a_kill_before_the_first_backup_begins_anew(model, tmp_path):
    seen = []
    for line in itertools.count():
        folder = tmp_path / str(line)
        killed = killed_before(line, backup, lambda: back_up(model, folder, 1))  # noqa: B023
        tear(folder)
        seen.append(resume(model, folder))
        back_up(model, folder, 2)
        assert resume(model, folder) == (2, 2)
        if not killed:
            break
    assert seen == sorted(seen)
    assert set(seen) == {(0, 0), (1, 1)}


@unclosed
@pytest.mark.filterwarnings("ignore:Resumed from:UserWarning")
def test_a_kill_before_any_line_of_a_resume_changes_nothing(model, tmp_path):
    def break_and_resume(folder):
        (folder / WEIGHTS).write_bytes(b"")
        resume(model, folder)

    for folder in kills(model, tmp_path, True, OURS, break_and_resume):
        assert resume(model, folder) == (1, 1)


@pytest.mark.filterwarnings("ignore:No backup is whole:UserWarning")  # an epoch without weights
def test_a_kill_while_the_folder_is_deleted_leaves_the_last_backup_or_none(model, tmp_path):
    folders = list(
        kills(model, tmp_path, True, OURS, lambda folder: callback_of(model, folder).on_train_end())
    )
    assert not folders[-1].exists()
    seen = [resume(model, folder) for folder in folders]
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {(2, 2), (0, 0)}


def test_every_file_is_flushed_before_it_is_renamed(model, tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda file: (done.append(("flush", os.fstat(file).st_ino)), fsync(file))
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b: (done.append(("rename", os.stat(a).st_ino)), replace(a, b))
    )
    folder = tmp_path / "backup"
    for epoch in (1, 2):
        back_up(model, folder, epoch, double_checkpoint=True)
    renames = [index for index, (what, _) in enumerate(done) if what == "rename"]
    assert len(renames) == 2 + 4
    for index in renames:
        assert done[index - 1] == ("flush", done[index][1])
        assert done[index + 1] == ("flush", folder.stat().st_ino)
    assert done[0] == ("flush", tmp_path.stat().st_ino)  # of the new folder's own name


# --- broken folders


@pytest.mark.parametrize("content", [b"", b'{"epoch": 2, "ba', b"[]", b"\xff"])
def test_a_broken_metadata_file_loses_nothing(model, tmp_path, content):
    back_up(model, tmp_path, 2)
    (tmp_path / METADATA).write_bytes(content)
    with pytest.warns(
        UserWarning, match="Resumed from .* at epoch 2: .*training_metadata.json is not whole"
    ):
        assert resume(model, tmp_path) == (2, 2)
    assert resume(model, tmp_path) == (2, 2)  # mended, and without a warning


@pytest.mark.parametrize("kind", [OURS, KERAS_OWN])
@pytest.mark.parametrize("bytes_left", [0, 100, -1])
def test_broken_weights_give_way_to_the_older_backup(model, tmp_path, kind, bytes_left):
    for epoch in (1, 2):
        back_up(model, tmp_path, epoch, kind, double_checkpoint=True)
    os.truncate(tmp_path / WEIGHTS, bytes_left % (tmp_path / WEIGHTS).stat().st_size)
    with pytest.warns(UserWarning, match="bkp at epoch 1: .*latest.weights.h5 is not whole"):
        assert resume(model, tmp_path) == (1, 1)
    assert resume(model, tmp_path) == (1, 1)


def test_missing_weights_give_way_to_the_older_backup(model, tmp_path):
    for epoch in (1, 2):
        back_up(model, tmp_path, epoch, double_checkpoint=True)
    (tmp_path / WEIGHTS).unlink()
    with pytest.warns(UserWarning, match="latest.weights.h5 is missing"):
        assert resume(model, tmp_path) == (1, 1)


@pytest.mark.parametrize("missing", [False, True])
def test_broken_weights_without_an_older_backup_begin_anew(model, tmp_path, missing):
    back_up(model, tmp_path, 2)
    (tmp_path / WEIGHTS).unlink() if missing else (tmp_path / WEIGHTS).write_bytes(b"\x89HDF")
    with pytest.warns(UserWarning, match="training begins anew: .*latest.weights.h5 is"):
        assert resume(model, tmp_path) == (0, 0)


def test_a_resume_from_the_newest_backup_replaces_no_file(model, tmp_path):
    back_up(model, tmp_path, 2)
    files = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert resume(model, tmp_path) == (2, 2)
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == files


def test_weights_of_another_model_are_an_error(model, tmp_path):
    back_up(model, tmp_path, 2)
    other = keras.Sequential([keras.Input((1,)), keras.layers.Dense(3, use_bias=False)])
    other.compile("sgd", "mse")
    with pytest.raises(ValueError, match="shape"):
        callback_of(other, tmp_path).on_train_begin()
    assert resume(model, tmp_path) == (2, 2)


def test_a_file_that_may_not_be_read_is_an_error_and_not_a_new_training(
    model, tmp_path, monkeypatch
):
    back_up(model, tmp_path, 2)

    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(PermissionError):
        resume(model, tmp_path)


def test_a_folder_that_nobody_can_make_is_an_error_before_the_training(model, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        callback_of(model, tmp_path / "file").on_train_begin()
    assert (tmp_path / "file").read_text() == "mine"


# --- arguments


def test_remote_folders_are_refused():
    with pytest.raises(
        ValueError,
        match="`backup_dir` must be a local folder.*Received: backup_dir=gs://bucket/run",
    ):
        ks.BackupAndRestore("gs://bucket/run")


def test_it_takes_the_arguments_of_keras():
    ours, theirs = (
        inspect.signature(kind).parameters
        for kind in (ks.BackupAndRestore, keras.callbacks.BackupAndRestore)
    )
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


# --- at the end


def test_the_older_backup_is_deleted_first_and_a_further_fit_begins_with_epoch_0(
    model, tmp_path, monkeypatch
):
    for epoch in (1, 2):
        back_up(model, tmp_path, epoch, double_checkpoint=True)
    callback = callback_of(model, tmp_path, double_checkpoint=True)
    callback.on_train_begin()
    assert model._initial_epoch == 2
    deleted, unlink = [], Path.unlink

    def noting(self, missing_ok=False):
        deleted.append(self.name)
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", noting)
    callback.on_train_end()
    assert deleted[2:] == [WEIGHTS, METADATA]
    assert not set(deleted[:2]) & {WEIGHTS, METADATA}
    assert model._initial_epoch is None


def test_random_states_are_put_back_where_a_file_has_them(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dropout(0.5, seed=3)])
    paths = [str(tmp_path / f"{name}.weights.h5") for name in ("none", "two", "one")]
    for path, states in zip(paths, ([], [[1, 2], [3, 4]], [[5, 6]]), strict=True):
        with h5py.File(path, "w") as file:
            file.attrs[backup.RANDOM_STATES] = np.array(states, "int64")
    before = array(model.variables[0])
    backup._load_random_states(model, paths[0])
    np.testing.assert_array_equal(array(model.variables[0]), before)
    with pytest.raises(ValueError, match="Received: 2 in .*two.weights.h5, 1 in the model"):
        backup._load_random_states(model, paths[1])
    backup._load_random_states(model, paths[2])
    np.testing.assert_array_equal(array(model.variables[0]), [5, 6])
