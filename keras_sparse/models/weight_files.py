"""The arrays in a file of a model, whoever wrote it: Keras, TensorFlow, LiteRT or this library."""

import collections
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
from keras_sparse.models.verified_zip import (
    INDEX,
    DamagedFileError,
    VerifiedZip,
    as_damage,
    check_whole,
)
from keras_sparse.rules import mask_bits

WEIGHTS = "model.weights.h5"
MASK_STATE = ("mask", "dense_weight_gradient", "mask_density")  # names in ``KernelMask``


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
    reader = _reader(path)
    try:
        with as_damage():
            return _named_apart(list(reader(path)))
    except DamagedFileError as error:
        raise ValueError(f"The file is damaged: {error}. Received: {path}") from error


def _named_apart(arrays: list[NamedArray]) -> list[NamedArray]:
    """With a number behind each name that several have, as in SavedModels of sparse layers."""
    counts = collections.Counter(array.name for array in arrays)
    numbers: collections.Counter[str] = collections.Counter()
    named = []
    for array in arrays:
        name = array.name
        if counts[name] > 1:
            named.append(NamedArray(f"{name} #{numbers[name]}", array.values))
            numbers[name] += 1
        else:
            named.append(array)
    return named


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
    else:
        check_whole(path)
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
        with VerifiedZip(path) as source:
            read_weights(source, weights)
        yield from _hdf5(weights)


def _arrays_of(group: h5py.Group, prefix: str = "") -> Iterator[NamedArray]:
    """Keras writes variables into a group ``vars``, which has the layer's own name."""
    quantized = quantized_arrays({key: item[()] for key, item in group.items() if _is_array(item)})
    for key, item in group.items():
        if key in ("optimizer", "optimizer_weights") or _is_mask(item):
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


def _is_mask(item: Any) -> bool:
    """Is it what ``KernelMask`` writes beside a kernel? A user's layer may be named so, too."""
    names = {*item.get("vars", ())} if isinstance(item, h5py.Group) else set()
    return names in ({mask_bits.BITS}, {mask_bits.ZEROS})


def _is_array(item: Any) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind in "bfiu" and item.size > 0


def _saved_model(path: Path) -> Iterator[NamedArray]:
    """Keras lists the variables of what it writes; ``tf.saved_model.save`` lists none."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    if not hasattr(loaded, "variables"):
        yield from _checkpoint(path / "variables" / "variables")
        return
    for variable in loaded.variables:
        name = variable.name.partition(":")[0]
        if name.rpartition("/")[2] not in MASK_STATE:
            yield NamedArray(name, variable.numpy())


def _checkpoint(prefix: Path) -> Iterator[NamedArray]:
    """By the places of the variables in the object that was saved: ``_layers/1/_kernel``.

    An optimizer in it has rows, too: its lists may be the places of the model's own variables.
    """
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    for key in sorted(reader.get_variable_to_shape_map()):
        name, _, attribute = key.partition("/.ATTRIBUTES/")
        if not attribute or name.rpartition("/")[2] in MASK_STATE:
            continue
        values = reader.get_tensor(key)
        if values.dtype.kind in "bfiu" and values.size:
            yield NamedArray(name, values)


def _tflite(path: Path) -> Iterator[NamedArray]:
    """LiteRT's kernels are (out, taps..., in)."""
    for name, values, _ in constants(path):
        yield NamedArray(name, np.moveaxis(values, 0, -1) if values.ndim > 1 else values)
