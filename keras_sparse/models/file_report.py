"""What is in a file of a model: each weight's density, structure and dead channels, and sizes."""

import dataclasses
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from keras_sparse.models.weight_files import NamedArray, arrays_in
from keras_sparse.rules.found_structure import found_structure

CHUNK = 2**22


def file_report(path: Path) -> dict[str, Any]:
    """A dict for JSON: ``{"file", "bytes", "bytes_zipped", "weights": [row, ...], "total"}``.

    Args:
        path: what ``arrays_in`` reads.

    Raises:
        ValueError: the file is damaged, or of another kind.
    """
    rows = [_row(array) for array in arrays_in(path)]
    sizes = sizes_of(path)
    kernels = [row for row in rows if row["structure"]]
    size = sum(row["size"] for row in kernels)
    nonzero = sum(row["nonzero"] for row in kernels)
    return {
        "file": str(path),
        "bytes": sizes.bytes,
        "bytes_zipped": sizes.bytes_zipped,
        "weights": rows,
        "total": {
            "size": size,
            "nonzero": nonzero,
            "density": nonzero / size if size else 1.0,
            "dead_inputs": sum(row["dead_inputs"] for row in kernels),
            "dead_outputs": sum(row["dead_outputs"] for row in kernels),
        },
    }


def _row(array: NamedArray) -> dict[str, Any]:
    """Arrays of less than two axes have no structure."""
    name, values = array
    nonzero = values != 0
    row: dict[str, Any] = {
        "name": name,
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "size": values.size,
        "nonzero": int(np.count_nonzero(nonzero)),
        "density": float(np.mean(nonzero)),
        "structure": "",
    }
    if values.ndim > 1:
        taps = nonzero.reshape(-1, *values.shape[-2:]).any(axis=0)
        row["structure"] = found_structure(nonzero)
        row["dead_inputs"] = int(np.count_nonzero(~taps.any(axis=1)))
        row["dead_outputs"] = int(np.count_nonzero(~taps.any(axis=0)))
    return row


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Bytes of a file, or of all files in a folder, as they are and zipped one by one."""

    bytes: int
    bytes_zipped: int


def sizes_of(*paths: Path) -> Sizes:
    """The sizes of files and folders together."""
    found = [each for path in paths for each in (path, *path.rglob("*")) if each.is_file()]
    return Sizes(sum(each.stat().st_size for each in found), sum(map(_zipped, found)))


def _zipped(path: Path) -> int:
    """Bytes after deflation at level 6, as zip and gzip do it: level 9 takes ten times as long."""
    compressor, total = zlib.compressobj(6), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            total += len(compressor.compress(chunk))
    return total + len(compressor.flush())


def difference(one: Path, other: Path) -> list[dict[str, Any]]:
    """Each weight of either file: densities, the share of equal places, the largest difference.

    Weights of the same name belong together. Where no name is in both files, as for files of
    different formats, weights of the same shape do, in their order. NaN equals NaN here.
    """
    found, others = arrays_in(one), arrays_in(other)
    if not {array.name for array in found} & {array.name for array in others}:
        found, others = _by_shape(found), _by_shape(others)
    left, right = {a.name: a.values for a in found}, {a.name: a.values for a in others}
    return [
        _compared(name, left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])
    ]


def _by_shape(arrays: list[NamedArray]) -> list[NamedArray]:
    """Names of shape and number: ``"(3, 3, 16, 16) #0"``."""
    numbers: dict[Any, int] = {}
    renamed = []
    for array in arrays:
        shape = array.values.shape
        renamed.append(NamedArray(f"{shape} #{numbers.get(shape, 0)}", array.values))
        numbers[shape] = numbers.get(shape, 0) + 1
    return renamed


def _compared(name: str, one: np.ndarray | None, other: np.ndarray | None) -> dict[str, Any]:
    """None where only one file has the weight, or the shapes differ."""
    densities = [None if each is None else float(np.mean(each != 0)) for each in (one, other)]
    row: dict[str, Any] = {
        "name": name,
        "density": densities,
        "same_places": None,
        "largest_difference": None,
    }
    if one is not None and other is not None and one.shape == other.shape:
        active, others = one != 0, other != 0
        row["same_places"] = float(np.mean(active == others))
        row["largest_difference"] = _apart(one.astype(np.float64), other.astype(np.float64))
    return row


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference; infinity if a value is a number in one alone, or another infinity."""
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    apart = np.abs(np.subtract(one, other, where=~same, out=np.zeros_like(one)))
    return float(np.nan_to_num(apart, nan=np.inf, posinf=np.inf).max(initial=0.0))
