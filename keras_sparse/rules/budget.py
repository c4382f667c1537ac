"""Exact integer budgets: how many weights each layer has, loses and regains (NumPy only)."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_sparse.rules.blocks import BlockShape, block_size
from keras_sparse.rules.density import largest_remainder

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
    rate = np.where(
        (missing < MINIMUM_SPARSITY) & important, np.minimum(missing, prune_rate), prune_rate
    )
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
    if (
        grown is None
    ):  # blocks of these sizes cannot add up to the total: nobody gains, nobody loses
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


def _round_to_blocks(
    wanted: np.ndarray, total: int, caps: np.ndarray, sizes: np.ndarray
) -> np.ndarray | None:
    """Whole blocks near ``wanted`` weights that add up to ``total`` weights, or None where there is no such sum."""
    grown = np.minimum(np.floor(wanted / sizes + 1e-9).astype(np.int64), caps)
    left = total - int((grown * sizes).sum())
    for i in np.argsort(
        -(wanted - grown * sizes) / sizes, kind="stable"
    ):  # largest remainder first, one block each
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


def to_whole_blocks(
    wanted: Iterable[int],
    shapes: Sequence[tuple[int, ...]],
    block_shape: BlockShape,
    at_most: Iterable[int] | None = None,
    only_up: bool = False,
) -> list[int]:
    """Weights per layer in whole blocks, whose total is as near to that of ``wanted`` as blocks allow.

    Blocks are rounded down, and the rest is given out by the largest remainder over all layers. Each layer has a block.

    Args:
        wanted: weights per layer.
        shapes: kernel shapes.
        block_shape: (in, out) channels of a block, or None: then ``wanted`` is returned.
        at_most: weights per layer, in whole blocks, that must not be exceeded. None: all.
        only_up: True: no layer gets fewer whole blocks than its ``wanted`` has. Where nothing grows back, a layer that
            gave a block for the total of now would miss it later.

    >>> to_whole_blocks([22, 20], [(8, 8), (8, 8)], (4, 4))
    [32, 16]
    """
    if block_shape is None:
        return [int(n) for n in wanted]
    sizes = np.array([block_size(shape, block_shape) for shape in shapes], np.int64)
    most = (
        np.array(
            [np.prod(shape) for shape in shapes] if at_most is None else list(at_most), np.int64
        )
        // sizes
    )
    counts = np.array(list(wanted), float)
    blocks = np.clip((counts // sizes).astype(np.int64), 1, most)
    bounds = (blocks.copy() if only_up else np.ones_like(blocks), most)
    _come_near(blocks, counts, sizes, bounds, overshoot=False)
    _come_near(blocks, counts, sizes, bounds, overshoot=True)
    _exchange(blocks, counts, sizes, bounds)
    return [int(n) for n in blocks * sizes]


Bounds = tuple[np.ndarray, np.ndarray]  # of the blocks per layer: least and most


def _come_near(
    blocks: np.ndarray, wanted: np.ndarray, sizes: np.ndarray, bounds: Bounds, overshoot: bool
) -> None:
    """Adds single blocks, or takes them away, while that brings the total nearer; the largest remainder first."""
    while True:
        left = round(wanted.sum()) - int((blocks * sizes).sum())
        step = 1 if left > 0 else -1
        fits = sizes < 2 * abs(left) if overshoot else sizes <= abs(left)
        if not _step(blocks, wanted, sizes, bounds, step, fits):
            return


def _step(
    blocks: np.ndarray,
    wanted: np.ndarray,
    sizes: np.ndarray,
    bounds: Bounds,
    step: int,
    among: np.ndarray,
) -> bool:
    """Gives the layer whose remainder is largest a block (or takes one, step -1); False where none has room."""
    fits = among & (blocks + step >= bounds[0]) & (blocks + step <= bounds[1])
    if fits.any():
        blocks[np.argmax(np.where(fits, step * (wanted / sizes - blocks), -np.inf))] += step
    return bool(fits.any())


FEW = 8  # so many blocks of one size are exchanged for others, at most


def _exchange(blocks: np.ndarray, wanted: np.ndarray, sizes: np.ndarray, bounds: Bounds) -> None:
    """Exchanges a few blocks of one size for some of another where that brings the total nearer."""
    left = round(wanted.sum()) - int((blocks * sizes).sum())
    kinds = np.unique(sizes)[:3]
    if left == 0 or len(kinds) < 2:
        return
    steps = np.array(list(itertools.product(range(-FEW, FEW + 1), repeat=len(kinds))))
    for i, kind in enumerate(kinds):
        same = sizes == kind
        more, fewer = (bounds[1] - blocks)[same].sum(), (blocks - bounds[0])[same].sum()
        steps = steps[(steps[:, i] <= more) & (steps[:, i] >= -fewer)]
    order = np.lexsort(
        (np.abs(steps).sum(1), np.abs(left - steps @ kinds))
    )  # the nearest, by the fewest exchanges
    for kind, count in zip(kinds, steps[order[0]], strict=True):
        for _ in range(abs(count)):
            _step(blocks, wanted, sizes, bounds, int(np.sign(count)), sizes == kind)
