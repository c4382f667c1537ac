"""The arrays of a Keras weight file (HDF5), coded one by one; the rest of the file beside them."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import ml_dtypes
import numpy as np

from keras_sparse.conversion.progress import current
from keras_sparse.models.verified_zip import (
    DamagedFileError,
    VerifiedZip,
    ZipWithDigests,
    as_damage,
)
from keras_sparse.rules.coded_array import UNSIGNED, decoded, pieces

Stored = Literal["float32", "float16", "bfloat16"]
ARRAYS = "arrays"  # a part of the file; in the index, what its arrays are
REST = "rest.h5"  # groups, attributes, and datasets that are no numbers


def write_weights(path: str, target: ZipWithDigests, dtype: Stored, optimizer: bool) -> None:
    """Writes the content of a weight file.

    Args:
        path: file of ``keras.Model.save_weights``.
        target: where to write.
        dtype: of the nonzeros of floating-point arrays with two or more axes.
        optimizer: also its arrays.

    Raises:
        ValueError: a weight is outside the range of ``dtype``.
    """
    with tempfile.TemporaryDirectory() as folder:
        rest = Path(folder, REST)
        with h5py.File(path) as source, h5py.File(rest, "w") as others:
            index: list[dict[str, Any]] = []
            target.index[ARRAYS] = index
            found = list(_arrays(source, others, optimizer))  # not their values
            target.write_pieces(ARRAYS, _coded(found, dtype, index))
        target.write(REST, rest.read_bytes())


def _coded(
    found: Sequence[h5py.Dataset], dtype: Stored, index: list[dict[str, Any]]
) -> Iterator[bytes]:
    """The pieces of all arrays; describes each in the index."""
    for dataset in current().each(found, len(found)):
        array = dataset[()]
        stored = _cast(array, _stored(array, dtype), dataset.name)
        is_cast = stored.dtype != array.dtype
        index.append(
            {
                "path": dataset.name,
                "shape": array.shape,
                "dtype": array.dtype.str,
                "stored": str(stored.dtype) if is_cast else array.dtype.str,
                "attributes": dict(dataset.attrs),
            }
        )
        yield from pieces(stored)


def read_weights(source: VerifiedZip, path: Path) -> None:
    """Writes the weight file that ``write_weights`` was given.

    Args:
        source: what ``write_weights`` has written.
        path: file to write.

    Raises:
        DamagedFileError: the file is damaged.
    """
    path.write_bytes(source.read(REST))
    with as_damage(), h5py.File(path, "a") as target:
        coded = source.read_pieces(ARRAYS)
        index = source.index[ARRAYS]
        for each in current().each(index, len(index)):
            dtype, shape = np.dtype(each["dtype"]), tuple(each["shape"])
            flat, begin = np.empty(int(np.prod(shape)), dtype), 0
            while begin < flat.size:
                found = decoded(next(coded), np.dtype(each["stored"]))
                flat[begin : begin + found.size] = found.astype(dtype)
                begin += found.size
            dataset = target.create_dataset(each["path"], data=flat.reshape(shape), dtype=dtype)
            dataset.attrs.update(each["attributes"])
        for _ in coded:  # its end compares the checksum
            raise DamagedFileError("it has more weights than its index")


def _arrays(source: h5py.Group, others: h5py.Group, optimizer: bool) -> Iterator[h5py.Dataset]:
    """The arrays of numbers; copies everything else."""
    _copy_attributes(source, others)
    for key, item in source.items():
        if item.name == "/optimizer" and not optimizer:
            continue
        if isinstance(item, h5py.Group):
            yield from _arrays(item, others.create_group(key), optimizer)
        elif _is_numeric(item):
            yield item
        else:
            source.copy(key, others)


def _is_numeric(dataset: h5py.Dataset) -> bool:
    """Numbers, bools, and what Keras writes for bfloat16: two bytes, and an attribute."""
    is_described = all(isinstance(value, str) for value in dataset.attrs.values())
    return dataset.dtype.kind in "bfiuV" and dataset.dtype.itemsize in UNSIGNED and is_described


def _copy_attributes(source: h5py.Group, target: h5py.Group) -> None:
    for key, value in source.attrs.items():
        target.attrs[key] = value


def _stored(array: np.ndarray, dtype: Stored) -> np.dtype:
    smaller = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    is_cast = array.dtype.kind == "f" and array.ndim > 1 and smaller.itemsize < array.itemsize
    return smaller if is_cast and dtype != "float32" else array.dtype


def _cast(array: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
    """Nonzeros stay nonzero, because they tell the mask; finite values stay finite."""
    if dtype == array.dtype:
        return array
    finfo: Any = ml_dtypes.finfo  # untyped
    limits = finfo(dtype)
    with np.errstate(over="ignore"):
        found = array.astype(dtype)
    too_large = np.isinf(found) & np.isfinite(array)
    if too_large.any():
        largest = float(np.abs(array[too_large]).max())
        raise ValueError(
            f"Every weight must be in the range of `dtype`, at most {float(limits.max):.6g} for "
            f'{dtype}. Received: {largest:.6g} in {name!r}; save it in "bfloat16" or "float32"'
        )
    vanished = (found == 0) & (array != 0)
    # Processors may read what is below the normal range of float32 as 0.
    smallest = max(float(limits.smallest_subnormal), float(np.finfo(np.float32).tiny))
    found[vanished] = np.copysign(smallest, array[vanished])
    return found
