"""Pictures of masks: PNGs of one colour, whose opacity is the share of active weights."""

import base64
import struct
import zlib
from xml.etree.ElementTree import Element

import numpy as np

from keras_sparse.reporting.elements import element

COLOUR = (59, 122, 230)  # visible on light and on dark pages
LEVELS = 64  # of opacity; 0 is for cells without an active weight
FAINTEST = 0.2  # opacity of a cell with any active weight
WIDEST = 384  # CSS pixels of a picture
LARGEST_CELL = 24


def picture(shares: np.ndarray, text: str) -> Element:
    """An image of shares in [0, 1], rows by columns; the darkest cell has the largest share.

    Args:
        shares: float array (rows, columns). Cells of share 0 stay blank.
        text: what a screen reader says in place of the image.
    """
    rows, columns = shares.shape
    scale = max(1, min(LARGEST_CELL, WIDEST // max(rows, columns)))
    data = base64.b64encode(png(levels(shares))).decode()
    return element(
        "img",
        src=f"data:image/png;base64,{data}",
        alt=text,
        title=text,
        width=str(columns * scale),
        height=str(rows * scale),
        class_="mask",
    )


def levels(shares: np.ndarray) -> np.ndarray:
    """0 for a share of 0, and 1 to LEVELS - 1 in proportion to the largest share; uint8.

    >>> levels(np.array([[0.0, 0.001], [0.25, 0.5]]))
    array([[ 0,  1],
           [32, 63]], dtype=uint8)
    """
    largest = shares.max(initial=0.0)
    if largest == 0:
        return np.zeros(shares.shape, np.uint8)
    found = 1 + np.rint(shares / largest * (LEVELS - 2))
    return np.where(shares > 0, found, 0).astype(np.uint8)


def png(numbers: np.ndarray) -> bytes:
    """A PNG with a palette of LEVELS opacities (W3C, PNG specification, 3rd edition).

    Args:
        numbers: uint8 array (rows, columns), below LEVELS.
    """
    rows, columns = numbers.shape
    steps = np.linspace(FAINTEST, 1, LEVELS - 1)
    opacities = np.rint(255 * np.concatenate([[0], steps])).astype(np.uint8)
    lines = np.hstack([np.zeros((rows, 1), np.uint8), numbers])  # each begins with its filter: none
    head = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits, palette
    parts = {
        b"IHDR": head,
        b"PLTE": bytes(COLOUR) * LEVELS,
        b"tRNS": opacities.tobytes(),
        b"IDAT": zlib.compress(lines.tobytes()),
        b"IEND": b"",
    }
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*part) for part in parts.items())


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
