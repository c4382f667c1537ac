"""Models in files, and modules that register their classes, as commands take them."""

import importlib
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import keras

from keras_sparse.models.compressed import load_compressed
from keras_sparse.models.verified_zip import INDEX, check_whole


def import_modules(names: Sequence[str]) -> None:
    """Imports what ``--import`` names.

    Raises:
        ValueError: there is no such module.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise ValueError(
                f"`--import` must name a module that can be imported; {error.name!r} was not "
                f"found. Start the command in its folder. Received: --import {name}"
            ) from error


def has_model(path: Path) -> bool:
    """Is this a ``.keras`` file, one of ``save_compressed``, or an ``.h5`` file of a model?"""
    if zipfile.is_zipfile(path):
        return path.suffix == ".keras" or _is_compressed(path)
    if path.is_file() and h5py.is_hdf5(path):
        with h5py.File(path) as file:
            return "model_config" in file.attrs
    return False


def load(path: Path) -> tuple[keras.Model, str | None]:
    """The model in a file; and why its optimizer cannot be loaded, or None.

    Raises:
        ValueError: the model cannot be loaded.
    """
    try:
        return _reader(path)(path), None
    except Exception as error:  # what the user's classes raise
        why = _first_line(error)
    return load_alone(path), why


def load_alone(path: Path) -> keras.Model:
    """The model in a file, without an optimizer.

    Raises:
        ValueError: the file has no model, or it cannot be loaded.
    """
    if not has_model(path):
        if path.is_file():
            check_whole(path)
        raise ValueError(
            "The file must hold a model: a .keras file, one of `ks.save_compressed`, or an .h5 "
            f"file of `model.save`. Received: {path}"
        )
    try:
        return _reader(path)(path, compile=False)
    except Exception as error:
        raise ValueError(
            "The file's model cannot be loaded. If it has classes of your own, name the module "
            f"that registers them by --import. {_first_line(error)} Received: {path}"
        ) from error


def _reader(path: Path) -> Callable[..., keras.Model]:
    return load_compressed if _is_compressed(path) else keras.saving.load_model


def _is_compressed(path: Path) -> bool:
    return zipfile.is_zipfile(path) and INDEX in zipfile.ZipFile(path).namelist()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
