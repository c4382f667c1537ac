"""Which structure a mask has, whoever made it (NumPy only)."""

import numpy as np

SIZES = (64, 32, 16, 8, 4, 2, 1)  # channels on a side of a block


def found_structure(mask: np.ndarray) -> str:
    """The coarsest structure that fits a mask; the last block of an axis may be smaller.

    Args:
        mask: bool array (taps..., in, out).

    Returns:
        ``"dense"``, ``"empty"``, ``"2:4 along inputs"``, ``"single weights"``, or
        ``"blocks 4x8 per tap"``: 4 input by 8 output channels; without ``"per tap"`` the taps
        share the mask.

    >>> mask = np.zeros((3, 3, 8, 8), bool); mask[0, 1, :4] = True
    >>> found_structure(mask), found_structure(np.eye(8, dtype=bool))
    ('blocks 4x8 per tap', 'single weights')
    """
    if mask.all() or not mask.any():
        return "dense" if mask.all() else "empty"
    taps = mask.reshape(-1, *mask.shape[-2:])
    block = _largest(taps.swapaxes(1, 2)), _largest(taps)
    shares_taps = len(taps) > 1 and bool((taps == taps[0]).all())
    if block == (1, 1) and not shares_taps:
        return "2:4 along inputs" if _is_two_of_four(taps) else "single weights"
    per_tap = " per tap" if len(taps) > 1 and not shares_taps else ""
    return f"blocks {block[0]}x{block[1]}{per_tap}"


def _largest(mask: np.ndarray) -> int:
    """The largest size whose groups along the last axis are active or missing as a whole.

    Channels are counted from 0; the last group has those that are left. It alone shows no size: a
    weight missing there may be a single one.
    """
    return min(next(size for size in SIZES if _consists_of(mask, size)), mask.shape[-1])


def _consists_of(mask: np.ndarray, size: int) -> bool:
    number, channels = mask.shape[-1], np.arange(mask.shape[-1])
    if not np.array_equal(mask, mask[..., channels - channels % size]):
        return False
    whole = mask[..., : number - number % size]
    return size >= number or bool(whole.any() and not whole.all())


def _is_two_of_four(taps: np.ndarray) -> bool:
    """At most two of four inputs are active, and not because few weights are active at all."""
    if taps.shape[1] % 4 or taps.mean() < 0.375:
        return False
    n, inputs, outputs = taps.shape
    return bool((taps.reshape(n, inputs // 4, 4, outputs).sum(axis=2) <= 2).all())
