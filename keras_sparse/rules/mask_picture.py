"""A mask as a grey picture, in which a cell of weights may be one pixel (NumPy only)."""

import numpy as np

LARGEST = 256  # pixels of a side


def mask_picture(mask: np.ndarray, largest: int = LARGEST) -> np.ndarray:
    """The picture of a mask: white is active, black is missing.

    Columns are the last axis, the outputs of most kernels. Rows are all other axes: the taps of a
    convolution follow each other, each with all of its inputs. A side of more than ``largest``
    weights is divided into cells of equal length; the last cell may be shorter. Then the light of
    a pixel is the share of its cell's weights that are active, as sRGB encodes light: the picture
    looks as the full one does from further away.

    Args:
        mask: bool array of one or more axes.
        largest: pixels that a side has at most.

    Returns:
        uint8 array of two axes, 0 to 255.

    >>> mask_picture(np.array([[True, False], [True, True]])).tolist()
    [[255, 0], [255, 255]]
    >>> mask_picture(np.array([[True, False], [True, True]]), largest=1).tolist()
    [[225]]
    """
    rows = mask.reshape(-1, mask.shape[-1])
    tall, wide = cell_shape(mask.shape, largest)
    active = np.add.reduceat(rows, range(0, rows.shape[0], tall), axis=0, dtype=np.int64)
    active = np.add.reduceat(active, range(0, rows.shape[1], wide), axis=1)
    sizes = np.outer(_lengths(rows.shape[0], tall), _lengths(rows.shape[1], wide))
    return np.rint(255 * _srgb(active / sizes)).astype(np.uint8)


def cell_shape(shape: tuple[int, ...], largest: int = LARGEST) -> tuple[int, int]:
    """(rows, columns) of weights in one pixel of ``mask_picture``.

    >>> cell_shape((3, 3, 128, 64)), cell_shape((16, 8))
    ((5, 1), (1, 1))
    """
    rows = int(np.prod(shape[:-1], dtype=np.int64))
    return -(-rows // largest), -(-shape[-1] // largest)


def _lengths(size: int, cell: int) -> np.ndarray:
    """The lengths of the cells of a side."""
    starts = np.arange(0, size, cell)
    return np.minimum(starts + cell, size) - starts


def _srgb(light: np.ndarray) -> np.ndarray:
    """Light in [0, 1] as the values that a screen turns into it (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
