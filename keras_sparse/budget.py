"""How many weights does each layer lose and regain in one update?  Exact integer budgets (NumPy only)."""

from dataclasses import dataclass

import numpy as np

from keras_sparse.density import largest_remainder

MINIMUM_SPARSITY = 0.2  # a layer with fewer missing weights than this is nearly dense
MAXIMUM_REGROWTH = 0.99  # no layer is filled beyond this part of its free places


@dataclass(frozen=True)
class Counts:
    """What one update knows of the layers before it starts; counts are in blocks (a single weight is a block of 1)."""

    active: np.ndarray
    missing: np.ndarray
    block_size: np.ndarray
    shares: np.ndarray  # non-negative, sum 1


def prune_counts(counts: Counts, prune_rate: float) -> np.ndarray:
    """Blocks to prune per layer: rate * active, less where an important layer is nearly dense; one always stays.

    Single weights are rounded up. Blocks are rounded to the nearest: of few, rounding up would prune as many at a rate of 0.005 as at 0.25.
    """
    missing = counts.missing / np.maximum(counts.missing + counts.active, 1)
    important = counts.shares > 1.0 / len(counts.shares)
    rate = np.where((missing < MINIMUM_SPARSITY) & important, np.minimum(missing, prune_rate), prune_rate)
    # 1e-9: 0.1 * 30 is 3.0000000000000004 in floating point, and its ceiling is meant to be 3.
    rounded_up, nearest = np.ceil(rate * counts.active - 1e-9), np.floor(rate * counts.active + 0.5)
    wanted = np.where(counts.block_size == 1, rounded_up, nearest).astype(np.int64)
    return np.minimum(wanted, np.maximum(counts.active - 1, 0))


def grow_counts(counts: Counts, pruned: np.ndarray) -> np.ndarray:
    """Blocks to grow per layer, in all as many weights as were pruned.

    Layer i wants its share, at most 99 % of its free places; what does not fit is spread equally over the layers with
    room, until all is placed. Only if every layer is at its cap do the caps give way.
    """
    free = counts.missing + pruned
    total = int((pruned * counts.block_size).sum())
    caps = np.floor(MAXIMUM_REGROWTH * free + 1e-9).astype(np.int64)
    if int((caps * counts.block_size).sum()) < total:
        caps = free
    wanted = _spread(counts.shares * total, (caps * counts.block_size).astype(float))
    grown: np.ndarray | None
    if (counts.block_size == 1).all():
        grown = largest_remainder(wanted, total, caps)
    else:
        grown = _round_to_blocks(wanted, total, caps, counts.block_size)
    if grown is None:  # blocks of these sizes cannot add up to the total: nobody gains, nobody loses
        return pruned
    return _without_empty_layers(counts, pruned, grown)


def _spread(wanted: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Clips ``wanted`` at ``caps`` and spreads the excess equally over the parts with room; the sum stays."""
    placed = np.minimum(wanted, caps)
    excess = float((wanted - placed).sum())
    while excess > 1e-6:
        room = placed < caps
        if not room.any():
            break
        given = np.where(room, np.minimum(placed + excess / room.sum(), caps), placed)
        excess -= float((given - placed).sum())
        placed = given
    return placed


def _round_to_blocks(wanted: np.ndarray, total: int, caps: np.ndarray, sizes: np.ndarray) -> np.ndarray | None:
    """Whole blocks near ``wanted`` weights that add up to ``total`` weights, or None where there is no such sum."""
    grown = np.minimum(np.floor(wanted / sizes + 1e-9).astype(np.int64), caps)
    left = total - int((grown * sizes).sum())
    for i in np.argsort(-(wanted - grown * sizes) / sizes, kind="stable"):  # largest remainder first, one block each
        if sizes[i] <= left and grown[i] < caps[i]:
            grown[i] += 1
            left -= int(sizes[i])
    for i in np.argsort(-sizes, kind="stable"):  # the rest, large blocks first
        more = min(int(caps[i] - grown[i]), left // int(sizes[i]))
        grown[i] += more
        left -= more * int(sizes[i])
    return grown if left == 0 else None


def _without_empty_layers(counts: Counts, pruned: np.ndarray, grown: np.ndarray) -> np.ndarray:
    """A layer that came without an active block takes one from the layer of equal blocks that grows most."""
    for i in np.flatnonzero((counts.active - pruned + grown) == 0):
        donors = np.where((counts.block_size == counts.block_size[i]) & (grown > 0), grown, 0)
        donor = int(np.argmax(donors))
        if donors[donor] > 0 and (counts.active - pruned + grown)[donor] > 1:
            grown[donor] -= 1
            grown[i] += 1
    return grown
