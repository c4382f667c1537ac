"""Masks in files take one bit a weight, or none where the weights tell the mask (NumPy only)."""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

BITS, ZEROS = "mask", "active_zeros"  # the names of the two forms in a store


def pack(mask: np.ndarray) -> np.ndarray:
    """A bool array as bits.

    Args:
        mask: bool array of any shape.

    Returns:
        uint8, shape (ceil(size / 8),), in the order of the flat mask.

    >>> pack(np.array([[True, False], [False, True]]))
    array([144], dtype=uint8)
    """
    return np.packbits(mask)


def number_of_bytes(shape: tuple[int, ...]) -> int:
    """Bytes that ``pack`` makes of a mask of this shape."""
    return -(-int(np.prod(shape, dtype=np.int64)) // 8)


def to_words(bits: np.ndarray) -> np.ndarray:
    """Bytes as int32, which workers can send each other; the last one is filled up with 0.

    >>> to_words(np.array([1, 0, 0, 0, 2], np.uint8))
    array([1, 2], dtype=int32)
    """
    filled = np.concatenate([bits, np.zeros(-len(bits) % 4, np.uint8)])
    return filled.view("<i4").astype(np.int32, copy=False)


def from_words(words: np.ndarray, number: int) -> np.ndarray:
    """The bytes that ``to_words`` was given.

    Args:
        words: int32 array of ``to_words``.
        number: number of bytes.
    """
    return words.astype("<i4", copy=False).view(np.uint8)[:number]


def pack_others(bits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The bits at the missing weights of a mask, compressed.

    Args:
        bits: uint8 array of ``pack``, of an array that is True where the mask is.
        mask: bool array.

    Returns:
        uint8 array.

    >>> mask = np.array([[True, False], [False, False]])
    >>> unpack_others(pack_others(pack(np.array([[True, False], [True, False]])), mask), mask)
    array([160], dtype=uint8)
    """
    others = unpack(bits, mask.shape)[~mask]
    return np.frombuffer(zlib.compress(pack(others).tobytes()), np.uint8)


def unpack_others(packed: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The bits that were given to ``pack_others``."""
    bits = np.frombuffer(zlib.decompress(packed.tobytes()), np.uint8)
    array = mask.copy()
    array[~mask] = unpack(bits, (int(np.count_nonzero(~mask)),))
    return pack(array)


def unpack(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array that ``pack`` has packed; a bool array, as version 0.1.0 wrote it, stays as it is.

    Args:
        bits: uint8 array of ``pack``, or a bool array.
        shape: shape of the mask.

    Raises:
        ValueError: another number of bits than a mask of this shape has.

    >>> unpack(np.array([144], np.uint8), (2, 2))
    array([[ True, False],
           [False,  True]])
    """
    size = int(np.prod(shape, dtype=np.int64))
    fits = bits.shape == (shape if bits.dtype == bool else (number_of_bytes(shape),))
    if not fits:
        raise ValueError(
            "The file's mask has another shape than the weight. "
            f"Received: {bits.dtype} of shape {bits.shape} for a weight of shape {shape}"
        )
    if bits.dtype == bool:
        return bits
    return np.unpackbits(bits, count=size).astype(bool).reshape(shape)


def save_beside(weight: np.ndarray, mask: np.ndarray, store: Any) -> None:
    """Writes the mask of a weight that is in the same file.

    Where the weight's nonzeros tell the mask, the places of active zeros suffice.

    Args:
        weight: float array.
        mask: bool array of its shape.
        store: a Keras weight store.
    """
    zeros = np.flatnonzero(mask & (weight == 0))
    is_told_by_weight = not weight[~mask].any() and 32 * zeros.size <= mask.size
    if is_told_by_weight:
        store[ZEROS] = zeros.astype(np.uint32 if mask.size < 2**32 else np.uint64)
    else:
        store[BITS] = pack(mask)


def load_beside(weight: np.ndarray, store: Mapping[str, Any]) -> np.ndarray | None:
    """The mask that ``save_beside`` has written beside this weight; None: the store holds none."""
    names = list(store.keys())
    if BITS in names:
        return unpack(np.asarray(store[BITS]), weight.shape)
    if ZEROS not in names:
        return None
    mask = weight != 0
    mask.ravel()[np.asarray(store[ZEROS])] = True
    return mask
