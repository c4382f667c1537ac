"""An export replaces what is at its place as a whole, or leaves it; a folder there stays."""

import dataclasses
import os
from pathlib import Path

import pytest
from helpers import toy_model

import keras_sparse as ks
from keras_sparse.exporting.formats import FORMATS
from keras_sparse.exporting.place import beside, check_place


def test_a_folder_stays_and_its_content_is_replaced(tmp_path):
    volume = tmp_path / "volume"  # cannot be renamed where it is mounted
    volume.mkdir()
    (volume / "old").write_text("old")
    inode = volume.stat().st_ino
    with beside(volume) as place:
        assert place.name == "volume"
        place.mkdir()
        (place / "new").write_text("new")
        (place / "assets").mkdir()
        assert (volume / "old").read_text() == "old"
    assert sorted(each.name for each in volume.iterdir()) == ["assets", "new"]
    assert volume.stat().st_ino == inode


def test_a_link_to_a_folder_is_followed(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk", target_is_directory=True)
    with beside(tmp_path / "link") as place:
        place.mkdir()
        (place / "new").write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "disk" / "new").read_text() == "new"


def test_a_file_and_the_one_beside_it_replace_theirs_and_no_other(tmp_path):
    for name in ("m.xml", "m.bin", "other"):
        (tmp_path / name).write_text("old")
    with beside(tmp_path / "m.xml") as place:
        place.write_text("new")
        place.with_suffix(".bin").write_text("new")
    found = {each.name: each.read_text() for each in tmp_path.iterdir()}
    assert found == {"m.xml": "new", "m.bin": "new", "other": "old"}


def write_a_and_b(path, is_folder):
    with beside(path) as new:
        if is_folder:
            new.mkdir()
        for name in ("a", "b"):
            ((new if is_folder else new.parent) / name).write_text("new")


@pytest.mark.parametrize("is_folder", [True, False])
def test_what_was_there_comes_back_where_a_move_fails(tmp_path, monkeypatch, is_folder):
    place = tmp_path / "served" if is_folder else tmp_path
    place.mkdir(exist_ok=True)
    for name in ("a", "b"):
        (place / name).write_text("old")
    rename = os.rename

    def fails_for_b(source, target):
        if (Path(source).name, Path(target).parent) == ("b", place) and "new" in Path(source).parts:
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fails_for_b)
    with pytest.raises(OSError, match="no space"):
        write_a_and_b(place if is_folder else place / "a", is_folder)
    assert {each.name: each.read_text() for each in place.iterdir()} == {"a": "old", "b": "old"}


def write_half(path):
    with beside(path) as place:
        place.write_text("half")
        raise KeyError


def test_nothing_is_left_after_an_error(tmp_path):
    for path in (tmp_path / "folder", tmp_path / "file"):
        with pytest.raises(KeyError):
            write_half(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.tflite", "m.bin"])
def test_no_file_replaces_a_folder(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=f"must name a file, and a folder .*Received: .*{name}"):
        check_place(tmp_path / "m.tflite", overwrite=True, also=(".bin",))
    check_place(tmp_path / name, overwrite=False, is_folder=True)


def test_an_export_stays_where_the_dense_model_cannot_be_written(tmp_path, monkeypatch):
    def write_dense(ready, path, twin):
        raise OSError("no space left on device")

    chosen = dataclasses.replace(FORMATS["saved_model"], write_dense=write_dense)
    monkeypatch.setitem(FORMATS, "saved_model", chosen)
    with pytest.warns(UserWarning, match="served is written and checked, but .*no space left"):
        report = ks.export(toy_model(), tmp_path / "served", verbose=False)
    assert report.dense_sizes is None
    assert (tmp_path / "served" / "saved_model.pb").is_file()
