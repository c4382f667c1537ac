"""The arrays in a file of a model, whoever wrote it: Keras, TensorFlow, LiteRT or this library."""

import io
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from keras_sparse.models.compressed_weights import read_weights
from keras_sparse.models.quantized_arrays import quantized_arrays
from keras_sparse.models.tflite_tensors import constants, is_tflite
from keras_sparse.models.verified_zip import INDEX, DamagedFileError, VerifiedZip

WEIGHTS = "model.weights.h5"


class NamedArray(NamedTuple):
    """An array in a file."""

    name: str
    values: np.ndarray  # kernels in Keras' order: (taps..., in, out)


def arrays_in(path: Path) -> list[NamedArray]:
    """The weights in a file, without optimizers and masks.

    Args:
        path: ``.keras``, a file of ``save_compressed``, ``.h5``, ``.tflite``, or the folder of a
            SavedModel.

    Raises:
        ValueError: the file is none of these, or is damaged.
    """
    return list(_reader(path)(path))


def _reader(path: Path) -> Callable[[Path], Iterator[NamedArray]]:
    if path.is_dir():
        if (path / "saved_model.pb").exists():
            return _saved_model
    elif zipfile.is_zipfile(path):
        names = zipfile.ZipFile(path).namelist()
        for name, reader in ((INDEX, _compressed), (WEIGHTS, _keras)):
            if name in names:
                return reader
    elif h5py.is_hdf5(path):
        return _hdf5
    elif is_tflite(path):
        return _tflite
    raise ValueError(
        "The file must be a .keras file, one of `ks.save_compressed`, an .h5 file, a .tflite file "
        f"or the folder of a SavedModel. Received: {path}"
    )


def _hdf5(path: Any) -> Iterator[NamedArray]:
    with h5py.File(path) as file:
        yield from _arrays_of(file)


def _keras(path: Path) -> Iterator[NamedArray]:
    with zipfile.ZipFile(path) as file:
        yield from _hdf5(io.BytesIO(file.read(WEIGHTS)))


def _compressed(path: Path) -> Iterator[NamedArray]:
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, WEIGHTS)
        try:
            with VerifiedZip(path) as source:
                read_weights(source, weights)
        except DamagedFileError as error:
            raise ValueError(f"The file is damaged: {error}. Received: {path}") from error
        yield from _hdf5(weights)


def _arrays_of(group: h5py.Group, prefix: str = "") -> Iterator[NamedArray]:
    """Keras writes variables into a group ``vars``, which has the layer's own name."""
    quantized = quantized_arrays({key: item[()] for key, item in group.items() if _is_array(item)})
    for key, item in group.items():
        if key in ("optimizer", "optimizer_weights") or key.endswith("_mask"):
            continue
        if isinstance(item, h5py.Dataset):
            if _is_array(item):
                yield NamedArray(f"{prefix}{key}", quantized.get(key, item[()]))
        elif key == "vars":
            parent = prefix.rstrip("/").rpartition("/")[0]
            own = item.attrs.get("name", prefix.rstrip("/").rpartition("/")[2])
            yield from _arrays_of(item, f"{parent}/{own}/".lstrip("/"))
        else:
            yield from _arrays_of(item, prefix if key == "layers" else f"{prefix}{key}/")


def _is_array(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "bfiu" and item.size > 0


def _saved_model(path: Path) -> Iterator[NamedArray]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    for variable in loaded.variables:
        yield NamedArray(variable.name.partition(":")[0], variable.numpy())


def _tflite(path: Path) -> Iterator[NamedArray]:
    """LiteRT's kernels are (out, taps..., in)."""
    for name, values, _ in constants(path):
        yield NamedArray(name, np.moveaxis(values, 0, -1) if values.ndim > 1 else values)
