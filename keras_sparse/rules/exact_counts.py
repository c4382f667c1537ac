"""Exact counts: integers near wanted parts that add up to a density (NumPy only)."""

import math
from collections.abc import Sequence

import numpy as np


def largest_remainder(wanted: np.ndarray, total: int, capacity: np.ndarray) -> np.ndarray:
    """Rounds ``wanted`` to integers that add up to ``total``, none above ``capacity``.

    Ties go to the lower index.
    """
    counts = np.minimum(np.floor(wanted + 1e-9).astype(np.int64), capacity)
    while (left := total - int(counts.sum())) > 0:
        room = np.flatnonzero(counts < capacity)
        order = room[np.argsort(-(wanted - counts)[room], kind="stable")]
        counts[order[:left]] += 1
    while (over := int(counts.sum()) - total) > 0:
        some = np.flatnonzero(counts > 0)
        order = some[np.argsort((wanted - counts)[some], kind="stable")]
        counts[order[:over]] -= 1
    return counts


def scaled(raw: Sequence[float], sizes: np.ndarray, density: float) -> np.ndarray:
    """Parts of sizes: densities proportional to ``raw``, capped at 1, ``density`` in all.

    What a full layer cannot take goes to the others.
    """
    weights, full = np.asarray(raw, float), np.zeros(len(sizes), bool)
    while not full.all():
        scale = (density * sizes.sum() - sizes[full].sum()) / (weights * sizes)[~full].sum()
        newly_full = ~full & (scale * weights > 1.0)
        if not newly_full.any():
            break
        full |= newly_full
    return sizes if full.all() else np.where(full, sizes, scale * weights * sizes)


def exact(wanted: np.ndarray, shapes: Sequence[tuple[int, ...]], density: float) -> list[int]:
    """Integers near ``wanted`` that add up to the density, at least 1 for each layer."""
    sizes = np.array([math.prod(shape) for shape in shapes], np.int64)
    total = round(density * int(sizes.sum()))
    if total < len(sizes):
        raise ValueError(
            f"`density` leaves fewer active weights ({total}) than layers ({len(sizes)}), and no "
            f"layer may be empty. Choose a higher density, or name layers in `dense`. "
            f"Received: density={density} for {int(sizes.sum())} weights"
        )
    counts = largest_remainder(wanted, total, sizes)
    for empty in np.flatnonzero(counts == 0):
        counts[np.argmax(counts)] -= 1
        counts[empty] = 1
    return [int(count) for count in counts]
