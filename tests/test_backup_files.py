"""The epoch of a backup stands in its weight file or beside it; flaws are listed."""

import errno
import json
import os

import h5py
import numpy as np
import pytest

from keras_sparse.training.backup_files import (
    STAMP,
    find_flaw,
    flush_folder,
    read_metadata,
    read_progress,
)

SAVED = {"epoch": 3, "batch": 2}


@pytest.fixture
def paths(tmp_path):
    """Names of a weight file and of the metadata beside it."""
    return str(tmp_path / "latest.weights.h5"), str(tmp_path / "training_metadata.json")


def write_weights(path, stamp=None):
    with h5py.File(path, "w") as file:
        file["kernel"] = np.ones(3)
        if stamp is not None:
            file.attrs[STAMP] = json.dumps(stamp)


def write_metadata(path, content, seconds_after=1):
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)
    weights = os.path.join(os.path.dirname(path), "latest.weights.h5")
    now = os.stat(weights).st_mtime_ns + seconds_after * 10**9
    os.utime(path, ns=(now, now))


def progress(paths):
    """What was read, and the flaws without the folder."""
    flaws = []
    found = read_progress(*paths, flaws)
    return found, [flaw.replace(f"{os.path.dirname(paths[0])}/", "") for flaw in flaws]


def test_stamped_weights_need_no_metadata(paths):
    write_weights(paths[0], SAVED)
    assert progress(paths) == (SAVED, [])


def test_a_stamp_wins_over_broken_metadata_which_are_reported(paths):
    write_weights(paths[0], SAVED)
    write_metadata(paths[1], "{")
    assert progress(paths) == (SAVED, ["training_metadata.json is not whole"])


def test_a_stamp_wins_over_older_metadata(paths):
    write_weights(paths[0], SAVED)
    write_metadata(paths[1], '{"epoch": 1}', seconds_after=-1)
    assert progress(paths) == (SAVED, [])


def test_weights_without_a_stamp_need_metadata(paths):
    write_weights(paths[0])
    assert progress(paths) == (None, ["training_metadata.json is not whole"])


def test_metadata_without_a_batch_are_of_an_epochs_beginning(paths):
    write_weights(paths[0])
    write_metadata(paths[1], '{"epoch": 3}', seconds_after=0)
    assert progress(paths) == ({"epoch": 3, "batch": 0}, [])


def test_metadata_older_than_weights_without_a_stamp_are_of_another_backup(paths):
    write_weights(paths[0])
    write_metadata(paths[1], '{"epoch": 3}', seconds_after=-1)
    found, flaws = progress(paths)
    assert found is None
    assert flaws == ["training_metadata.json is older than latest.weights.h5"]


def test_metadata_as_old_as_the_weights_are_theirs(paths):
    write_weights(paths[0])
    write_metadata(paths[1], '{"epoch": 3, "batch": 2}', seconds_after=0)
    assert progress(paths) == (SAVED, [])


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EIO])
def test_a_folder_that_cannot_be_flushed_is_no_error_and_one_that_fails_is(
    tmp_path, monkeypatch, code
):
    def fsync(descriptor):
        raise OSError(code, "told by the system")

    opened = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "fsync", fsync)
    if code == errno.EINVAL:
        flush_folder(str(tmp_path))
    else:
        with pytest.raises(OSError, match="told by the system"):
            flush_folder(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == opened  # it is closed again


def test_a_folder_is_flushed_where_the_system_can(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    flush_folder(str(tmp_path))
    assert len(flushed) == 1
    monkeypatch.setattr(os, "name", "nt")
    flush_folder("no such folder")
    assert len(flushed) == 1


def test_missing_weights_are_a_flaw(paths):
    assert progress(paths) == (None, ["latest.weights.h5 is missing"])


@pytest.mark.parametrize("content", ['{"batch": 2}', "[]", '{"epoch": "x"}', "3"])
def test_metadata_without_an_epoch_are_broken(paths, content):
    write_weights(paths[0], SAVED)
    write_metadata(paths[1], content)
    assert progress(paths) == (SAVED, ["training_metadata.json is not whole"])


def test_weights_of_which_a_part_cannot_be_read_are_not_whole(paths):
    with h5py.File(paths[0], "w") as file:
        kernel = file.create_dataset("layer/kernel", data=np.ones(1000), compression="gzip")
        place = kernel.id.get_chunk_info(0).byte_offset
    with open(paths[0], "r+b") as file:
        file.seek(place)
        file.write(bytes(8))
    assert "latest.weights.h5 is not whole" in find_flaw(paths[0])


@pytest.mark.parametrize("kind", [PermissionError, BlockingIOError])
def test_weights_that_may_not_be_read_now_may_be_whole(paths, monkeypatch, kind):
    def refuse(*arguments):
        raise kind

    write_weights(paths[0])
    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(kind):
        find_flaw(paths[0])


def test_metadata_that_may_not_be_read_are_an_error(paths, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PermissionError):
        read_metadata(paths[1])
