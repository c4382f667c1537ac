"""The share of active weights of each pair of channels, reduced to a picture (NumPy only)."""

import dataclasses

import numpy as np

Axes = tuple[int, ...]
MOST_CELLS = 256  # on a side of a picture


@dataclasses.dataclass(frozen=True)
class ChannelMap:
    """A mask as a picture: a row for each input channel, a column for each output channel.

    Attributes:
        shares: float array (rows, columns) in [0, 1]: active / all weights of a cell.
        channels: input and output channels, without reduction.
        per_cell: input and output channels in a cell. The last cells of an axis may have fewer.
    """

    shares: np.ndarray
    channels: tuple[int, int]
    per_cell: tuple[int, int]


def channel_map(
    mask: np.ndarray, inputs: Axes, outputs: Axes, most: int = MOST_CELLS
) -> ChannelMap:
    """Counts the active weights of each pair of channels over all taps.

    Where an axis has more than ``most`` channels, a cell stands for neighbouring channels; its
    share is the mean over all of their weights, so the picture keeps the density.

    Args:
        mask: bool array, True = active.
        inputs: axes of the input channels; axes in ``outputs`` do not count twice.
        outputs: axes of the output channels.
        most: largest number of cells on a side.

    >>> channel_map(np.eye(4, dtype=bool), (0,), (1,), most=2).shares
    array([[0.5, 0. ],
           [0. , 0.5]])
    """
    by_tap = as_taps(mask, inputs, outputs)
    channels = by_tap.shape[1], by_tap.shape[2]
    counts = np.count_nonzero(by_tap, axis=0)
    per_cell = tuple(max(1, -(-number // most)) for number in channels)
    cells = np.ones(channels, np.int64)
    for axis, (number, size) in enumerate(zip(channels, per_cell, strict=True)):
        begins = np.arange(0, number, size)
        counts = np.add.reduceat(counts, begins, axis=axis)
        cells = np.add.reduceat(cells, begins, axis=axis)
    return ChannelMap(counts / (len(by_tap) * cells), channels, (per_cell[0], per_cell[1]))


def as_taps(mask: np.ndarray, inputs: Axes, outputs: Axes) -> np.ndarray:
    """The mask as an array (taps, input channels, output channels).

    >>> as_taps(np.ones((3, 3, 4, 8), bool), (2,), (3,)).shape
    (9, 4, 8)
    """
    rank = mask.ndim
    out = [axis % rank for axis in outputs]
    into = [axis for axis in (axis % rank for axis in inputs) if axis not in out]
    taps = [axis for axis in range(rank) if axis not in (*into, *out)]
    channels = _number(mask, into), _number(mask, out)
    return mask.transpose([*taps, *into, *out]).reshape(-1, *channels)


def tap_shares(mask: np.ndarray, inputs: Axes, outputs: Axes) -> np.ndarray:
    """Active / all weights of each tap, a float array of the kernel's spatial shape.

    >>> mask = np.zeros((1, 3, 2, 2), bool); mask[0, 1] = True
    >>> tap_shares(mask, (2,), (3,))
    array([[0., 1., 0.]])
    """
    channels = {axis % mask.ndim for axis in (*inputs, *outputs)}
    return np.asarray(mask.mean(axis=tuple(sorted(channels))))


def _number(mask: np.ndarray, axes: list[int]) -> int:
    return int(np.prod([mask.shape[axis] for axis in axes], dtype=np.int64))
