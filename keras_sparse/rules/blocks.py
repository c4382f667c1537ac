"""A kernel as a grid of blocks, and back (NumPy only).

A block spans ``block_shape = (in, out)`` channels, the last two axes of the kernel, and every tap before them. With
``block_shape=None`` each weight stands for itself.
"""

import math
from typing import Any

import numpy as np

BlockShape = tuple[int, int] | None


def check_block_shape(block_shape: Any) -> BlockShape:
    """Returns a valid ``block_shape``; raises ValueError unless it is None or two positive integers."""
    if block_shape is None:
        return None
    valid = isinstance(block_shape, tuple | list) and len(block_shape) == 2
    if not valid or not all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in block_shape
    ):
        raise ValueError(
            f"`block_shape` must be None or two positive integers (in, out). Received: block_shape={block_shape!r}"
        )
    return int(block_shape[0]), int(block_shape[1])


def check_divisible(name: str, shape: tuple[int, ...], block_shape: BlockShape) -> None:
    """Raises ValueError unless the channels of this kernel are whole blocks."""
    if block_shape and (shape[-2] % block_shape[0] or shape[-1] % block_shape[1]):
        raise ValueError(
            f"`block_shape` must divide the last two axes of every masked weight. Received: block_shape={block_shape} for "
            f"{name!r} of shape {shape}; keep that layer dense with `dense=[{name!r}]`, or choose another block shape"
        )


def block_size(shape: tuple[int, ...], block_shape: BlockShape) -> int:
    """Weights in one block of a kernel of this shape."""
    return 1 if block_shape is None else math.prod(shape[:-2]) * block_shape[0] * block_shape[1]


def to_blocks(values: np.ndarray, block_shape: BlockShape) -> np.ndarray:
    """Sums of ``values`` (h, w, in, out) over each block: shape (in / block in, out / block out).

    >>> to_blocks(np.ones((3, 3, 4, 4)), (2, 4))
    array([[72.],
           [72.]])
    """
    if block_shape is None:
        return values
    rows, columns = values.shape[-2] // block_shape[0], values.shape[-1] // block_shape[1]
    return values.reshape(-1, rows, block_shape[0], columns, block_shape[1]).sum(axis=(0, 2, 4))


def from_blocks(
    block_mask: np.ndarray, shape: tuple[int, ...], block_shape: BlockShape
) -> np.ndarray:
    """The mask of the kernel's shape whose blocks are True where ``block_mask`` is."""
    if block_shape is None:
        return block_mask
    plane = block_mask.repeat(block_shape[0], axis=0).repeat(block_shape[1], axis=1)
    return np.broadcast_to(plane, shape).copy()


def whole_blocks(mask: np.ndarray, block_shape: BlockShape) -> np.ndarray:
    """The smallest mask of whole blocks that holds this one; the mask itself for single weights."""
    if block_shape is None:
        return mask
    return from_blocks(to_blocks(mask, block_shape) > 0, mask.shape, block_shape)


def check_whole(name: str, mask: np.ndarray, block_shape: BlockShape) -> None:
    """Raises ValueError unless each block of this mask is active or missing as a whole."""
    if block_shape is None:
        return
    active = to_blocks(mask, block_shape)
    partly = int(np.count_nonzero((active > 0) & (active < block_size(mask.shape, block_shape))))
    if partly:
        raise ValueError(
            f"The mask of {name!r} is not made of whole blocks, and `block_shape` is {block_shape}. "
            f"Received: {partly} of {active.size} blocks are active in part"
        )
