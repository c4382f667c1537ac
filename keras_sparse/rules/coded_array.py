"""An array with zeros takes the places of its nonzeros and their values (NumPy only).

The gaps between nonzeros of a random mask are geometric: a Rice code takes at most 4 % more than
their entropy. Masks of blocks are shorter as a compressed bitmap. Each piece takes the shortest.
Source: R. F. Rice, "Some practical universal noiseless coding techniques", JPL 79-22, 1979.
"""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

PIECE = 2**22  # elements that are coded at once: more take memory, not space
ALL, BITMAP, RICE = range(3)  # where the nonzeros are
# Form, bits of a remainder, elements, nonzeros, bytes of both parts.
HEAD = struct.Struct("<BBQQQQ")
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class CodedArrayError(ValueError):
    """Bytes that ``pieces`` cannot have made."""


def pieces(array: np.ndarray) -> Iterator[bytes]:
    """The code of an array of numbers or bools, in pieces of at most 2**22 elements.

    Args:
        array: any shape; a dtype of 1, 2, 4 or 8 bytes. A zero loses its sign.

    Yields:
        Bytes; ``decoded`` reads them in the same order.

    >>> array = np.array([0, 0, 1.5, 0], np.float32)
    >>> [decoded(piece, array.dtype).tolist() for piece in pieces(array)]
    [[0.0, 0.0, 1.5, 0.0]]
    """
    flat = np.ravel(array)
    for begin in range(0, flat.size, PIECE):
        yield _encoded(flat[begin : begin + PIECE])


def decoded(piece: bytes, dtype: np.dtype) -> np.ndarray:
    """The elements of one piece.

    Args:
        piece: bytes that ``pieces`` has yielded.
        dtype: the array's.

    Returns:
        1-D array.

    Raises:
        CodedArrayError: the bytes are damaged.
    """
    try:
        form, k, size, count, n_places, n_values = HEAD.unpack_from(piece)
        places = piece[HEAD.size : HEAD.size + n_places]
        values = piece[HEAD.size + n_places :]
        is_whole = len(places) == n_places and len(values) == n_values
        if form > RICE or size > PIECE or count > size or k > 32 or not is_whole:
            raise CodedArrayError("its head does not fit the bytes after it")
        flat = np.zeros(size, UNSIGNED[dtype.itemsize])
        flat[_read_places(form, k, places, size, count)] = _from_planes(values, count, flat.dtype)
        return flat.view(dtype)
    except (struct.error, zlib.error, IndexError, ValueError) as error:
        raise CodedArrayError(f"A piece of a coded array is damaged: {error}") from error


def _encoded(flat: np.ndarray) -> bytes:
    bits = flat.view(UNSIGNED[flat.itemsize])
    nonzero = (bits if flat.dtype.kind == "V" else flat) != 0
    places = np.flatnonzero(nonzero)
    form, k, coded = min(_forms(nonzero, places), key=lambda each: len(each[2]))
    values = _to_planes(bits[places])
    return HEAD.pack(form, k, flat.size, places.size, len(coded), len(values)) + coded + values


def _forms(nonzero: np.ndarray, places: np.ndarray) -> Iterator[tuple[int, int, bytes]]:
    """Each way to tell the places of nonzeros: its number, bits of a remainder, and the code."""
    if places.size == nonzero.size:
        yield ALL, 0, b""
        return
    yield BITMAP, 0, zlib.compress(np.packbits(nonzero).tobytes(), 9)
    if places.size:
        gaps = np.diff(places, prepend=-1) - 1
        k = round(math.log2(max(math.log(2) * float(gaps.mean()), 1.0)))
        yield RICE, k, _to_rice(gaps, k)


def _read_places(form: int, k: int, coded: bytes, size: int, count: int) -> np.ndarray:
    if form == ALL:
        places = np.arange(size)
    elif form == BITMAP:
        found = np.frombuffer(zlib.decompress(coded), np.uint8)
        places = np.flatnonzero(np.unpackbits(found, count=size))
    else:
        places = np.cumsum(_from_rice(coded, k, count) + 1) - 1
    if places.size != count or (count and int(places[-1]) >= size):
        raise CodedArrayError("the places do not fit the number of elements")
    return places


def _to_rice(gaps: np.ndarray, k: int) -> bytes:
    """The quotients of gaps and 2**k in unary, then the remainders in k bits each."""
    ends = np.cumsum((gaps >> k) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1, bool)
    unary[ends] = True
    remainders = (gaps[:, None] >> np.arange(k)) & 1
    return np.packbits(remainders.astype(bool)).tobytes() + np.packbits(unary).tobytes()


def _from_rice(coded: bytes, k: int, count: int) -> np.ndarray:
    found = np.frombuffer(coded, np.uint8)
    n_bytes = -(-count * k // 8)
    remainders = np.unpackbits(found[:n_bytes], count=count * k).reshape(count, k)
    ends = np.flatnonzero(np.unpackbits(found[n_bytes:]))
    quotients = np.diff(ends, prepend=-1) - 1
    if quotients.size != count:
        raise CodedArrayError("the number of gaps is not that of the nonzeros")
    return (quotients << k) + remainders.astype(np.int64) @ (1 << np.arange(k))


def _to_planes(values: np.ndarray) -> bytes:
    """First bytes of all values, then second ones: the exponents of floats lie together."""
    planes = values.astype(values.dtype.newbyteorder("<")).view(np.uint8)
    return zlib.compress(planes.reshape(values.size, values.itemsize).T.tobytes(), 9)


def _from_planes(coded: bytes, count: int, dtype: np.dtype) -> np.ndarray:
    planes = np.frombuffer(zlib.decompress(coded), np.uint8).reshape(dtype.itemsize, count)
    return np.ascontiguousarray(planes.T).view(dtype.newbyteorder("<")).reshape(count)
