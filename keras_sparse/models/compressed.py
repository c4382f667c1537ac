"""``save_compressed`` writes a model whose missing weights take almost no space in its file."""

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras

from keras_sparse._keras import check_model
from keras_sparse.conversion.progress import current, progress
from keras_sparse.models.compressed_weights import (
    ARRAYS,
    REST,
    Stored,
    read_weights,
    write_weights,
)
from keras_sparse.models.verified_zip import DamagedFileError, VerifiedZip, ZipWithDigests
from keras_sparse.rules.flags import check_flags, check_word
from keras_sparse.rules.paths import as_path, check_writable
from keras_sparse.rules.received import received

WEIGHTS = "model.weights.h5"  # in the files of ``keras.Model.save``
CONFIG = "config.json"


def save_compressed(
    model: keras.Model,
    path: str | Path,
    *,
    dtype: Stored = "float32",
    optimizer: bool = False,
    verbose: bool = True,
) -> None:
    """Writes a model to one file: the places of nonzero weights, their values, and the config.

    Zeros take no space, whether ``SparseMomentum``, tfmot or anything else made them; masks need
    none beside their weights. At a density of 0.1 and in float32, a kernel takes about 10 % of its
    dense size: 8.5 % for the values, 1.5 % for their places. The file is written beside ``path``
    and then renamed, so that a file of that name stays whole until the new one is.

    Args:
        model: a Keras model with weights.
        path: file to write; any suffix. Its folder is created if missing.
        dtype: what the nonzeros of floating-point weights with two or more axes are stored in:
            "float32" (each weight keeps its own dtype and all of its bits), "float16" or
            "bfloat16". Loading gives the weight's dtype back. Nonzeros stay nonzero.
        optimizer: also the optimizer and what else ``compile`` was given; a training can go on
            from it. Its momenta take more space than the weights.
        verbose: False: a terminal does not show that it runs.

    Raises:
        ValueError: the model has no weights yet, ``dtype`` is none of the three, or a weight is
            outside the range of float16.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "model.sparse")
    >>> model = keras.Sequential([keras.Input((32,)), keras.layers.Dense(16)])
    >>> save_compressed(model, path)
    >>> bool(np.all(load_compressed(path).weights[0] == model.weights[0]))
    True
    """
    check_model(model)
    check_flags(optimizer=optimizer, verbose=verbose)
    check_word("dtype", dtype, "float32", "float16", "bfloat16")
    if not model.weights:
        raise ValueError(
            "`model` must have weights. Build it, or call it on a batch, before it is saved. "
            f"{received(model=model)}"
        )
    path = as_path(path)
    check_writable(path)
    with progress("save_compressed", verbose), tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        current().says("Keras saves the model")
        model.save(saved)
        current().says("compressing")
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            _compress(saved, partial, dtype, optimizer)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def load_compressed(
    path: str | Path,
    custom_objects: dict[str, Any] | None = None,
    *,
    compile: bool = True,  # noqa: A002  # Keras' name for it
    safe_mode: bool = True,
    verbose: bool = True,
) -> keras.Model:
    """The model that ``save_compressed`` has written, with the masks of its sparse layers.

    Args:
        path: file of ``save_compressed``.
        custom_objects: as in ``keras.saving.load_model``.
        compile: also the optimizer and what else ``compile`` was given, if the file holds them.
        safe_mode: as in ``keras.saving.load_model``.
        verbose: False: a terminal does not show that it runs.

    Returns:
        A new model.

    Raises:
        ValueError: the file is damaged, is none of ``save_compressed``, or has a newer format. A
            checksum of each part is compared before the model is made.

    An example is in ``save_compressed``.
    """
    path = as_path(path)
    check_flags(compile=compile, safe_mode=safe_mode, verbose=verbose)
    with progress("load_compressed", verbose), tempfile.TemporaryDirectory() as folder:
        saved = Path(folder, "model.keras")
        try:
            _decompress(path, saved)
        except DamagedFileError as error:
            raise ValueError(
                f"`path` must name an undamaged file of `ks.save_compressed`: {error}. "
                f"Received: path={str(path)!r}"
            ) from error
        current().says("Keras loads the model")
        return keras.saving.load_model(
            saved, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
        )


def _compress(saved: Path, path: Path, dtype: Stored, optimizer: bool) -> None:
    with zipfile.ZipFile(saved) as source, ZipWithDigests(path) as target:
        for name in source.namelist():
            if name == WEIGHTS:
                continue
            content = source.read(name)
            target.write(name, _without_compile(content, name) if not optimizer else content)
        with tempfile.NamedTemporaryFile(dir=saved.parent) as weights:
            _copy(source, weights)
            write_weights(weights.name, target, dtype, optimizer)


def _decompress(path: Path, saved: Path) -> None:
    weights = saved.with_name(WEIGHTS)
    with VerifiedZip(path) as source, zipfile.ZipFile(saved, "w") as target:
        read_weights(source, weights)
        for name in source.names - {ARRAYS, REST}:
            target.writestr(name, source.read(name))
        target.write(weights, WEIGHTS)


def _copy(source: zipfile.ZipFile, target: Any) -> None:
    with source.open(WEIGHTS) as weights:
        while chunk := weights.read(2**24):
            target.write(chunk)
    target.flush()


def _without_compile(content: bytes, name: str) -> bytes:
    """A config that loads as a model without an optimizer; other files stay as they are."""
    if name != CONFIG:
        return content
    config = json.loads(content)
    config.pop("compile_config", None)
    return json.dumps(config).encode()
