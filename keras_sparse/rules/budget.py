"""Exact integer budgets give the weights that each layer has, loses and regains (NumPy only)."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from keras_sparse.rules.density import Shape, largest_remainder
from keras_sparse.rules.structure import Structure, Weights

MINIMUM_SPARSITY = 0.2  # a layer with fewer missing weights than this is nearly dense
MAXIMUM_REGROWTH = 0.99  # no layer is filled beyond this part of its free places


@dataclass(frozen=True)
class Counts:
    """The layers before an update, one entry each; counts are in groups of weights."""

    active: np.ndarray
    missing: np.ndarray
    group_size: np.ndarray
    shares: np.ndarray  # non-negative, sum 1


def prune_counts(counts: Counts, prune_rate: float) -> np.ndarray:
    """Groups to prune in each layer: rate * active. One always stays.

    Fewer are pruned where an important layer is nearly dense. Single weights are rounded up. Larger
    groups are rounded to the nearest: of 4 groups, rounding up would prune one at a rate of 0.005
    as at 0.25.
    """
    missing = counts.missing / np.maximum(counts.missing + counts.active, 1)
    important = counts.shares > 1.0 / len(counts.shares)
    rate = np.where(
        (missing < MINIMUM_SPARSITY) & important, np.minimum(missing, prune_rate), prune_rate
    )
    # 1e-9: 0.1 * 30 is 3.0000000000000004 in floating point, and its ceiling must be 3.
    rounded_up, nearest = np.ceil(rate * counts.active - 1e-9), np.floor(rate * counts.active + 0.5)
    wanted = np.where(counts.group_size == 1, rounded_up, nearest).astype(np.int64)
    return np.minimum(wanted, np.maximum(counts.active - 1, 0))


def grow_counts(counts: Counts, pruned: np.ndarray) -> np.ndarray:
    """Groups to grow in each layer; in all, the number of weights that were pruned.

    Layer i wants its share, at most 99 % of its free places. What does not fit is spread equally
    over the layers with room, until all is placed. Only if every layer is at its cap do the caps
    give way.
    """
    free = counts.missing + pruned
    total = int((pruned * counts.group_size).sum())
    caps = np.floor(MAXIMUM_REGROWTH * free + 1e-9).astype(np.int64)
    if int((caps * counts.group_size).sum()) < total:
        caps = free
    wanted = _spread(counts.shares * total, (caps * counts.group_size).astype(float))
    grown: np.ndarray | None
    if (counts.group_size == 1).all():
        grown = largest_remainder(wanted, total, caps)
    else:
        grown = _round_to_groups(wanted, total, caps, counts.group_size)
    if grown is None:  # groups of these sizes cannot add up: each layer regrows what it lost
        return pruned
    return _without_empty_layers(counts, pruned, grown)


def _spread(wanted: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Clips ``wanted`` at ``caps`` and spreads the excess equally over the layers with room.

    The sum stays the same.
    """
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


def _round_to_groups(
    wanted: np.ndarray, total: int, caps: np.ndarray, sizes: np.ndarray
) -> np.ndarray | None:
    """Whole groups near ``wanted`` weights that add up to ``total`` weights; None: no such sum."""
    grown = np.minimum(np.floor(wanted / sizes + 1e-9).astype(np.int64), caps)
    left = total - int((grown * sizes).sum())
    largest_first = np.argsort(-(wanted - grown * sizes) / sizes, kind="stable")
    for i in largest_first:  # the largest remainder, one group each
        if sizes[i] <= left and grown[i] < caps[i]:
            grown[i] += 1
            left -= int(sizes[i])
    for i in np.argsort(-sizes, kind="stable"):  # the rest, large groups first
        more = min(int(caps[i] - grown[i]), left // int(sizes[i]))
        grown[i] += more
        left -= more * int(sizes[i])
    return grown if left == 0 else None


def _without_empty_layers(counts: Counts, pruned: np.ndarray, grown: np.ndarray) -> np.ndarray:
    """Gives a layer without an active group one of the layer that grows most, of equal groups."""
    for i in np.flatnonzero((counts.active - pruned + grown) == 0):
        donors = np.where((counts.group_size == counts.group_size[i]) & (grown > 0), grown, 0)
        donor = int(np.argmax(donors))
        if donors[donor] > 0 and (counts.active - pruned + grown)[donor] > 1:
            grown[donor] -= 1
            grown[i] += 1
    return grown


def to_whole_groups(
    wanted: Iterable[int],
    shapes: Sequence[Shape],
    structure: Structure,
    at_most: Iterable[int] | None = None,
    only_up: bool = False,
) -> list[int]:
    """Weights of each layer in whole groups, whose total is the nearest to that of ``wanted``.

    Groups are rounded down. The rest is given out by the largest remainder over all layers. Each
    layer has at least one group.

    Args:
        wanted: weights of each layer.
        shapes: kernel shapes.
        structure: what the masks are made of.
        at_most: weights of each layer, in whole groups, that must not be exceeded. None: all.
        only_up: True: no layer gets fewer whole groups than its ``wanted`` has. Where nothing grows
            back, a layer that gave up a group for this total would miss it later.

    >>> to_whole_groups([22, 20], [(8, 8), (8, 8)], ks.Blocks(4, 4))
    [32, 16]
    """
    if structure == Weights():
        return [int(n) for n in wanted]
    limits = [math.prod(shape) for shape in shapes] if at_most is None else list(at_most)
    sizes = np.array([structure.group_size(shape) for shape in shapes], np.int64)
    most = np.array(limits, np.int64) // sizes
    counts = np.array(list(wanted), float)
    groups = np.clip((counts // sizes).astype(np.int64), 1, most)
    bounds = (groups.copy() if only_up else np.ones_like(groups), most)
    _come_near(groups, counts, sizes, bounds, overshoot=False)
    _come_near(groups, counts, sizes, bounds, overshoot=True)
    _exchange(groups, counts, sizes, bounds)
    return [int(n) for n in groups * sizes]


Bounds = tuple[np.ndarray, np.ndarray]  # groups of each layer: the least and the most


def _come_near(
    groups: np.ndarray, wanted: np.ndarray, sizes: np.ndarray, bounds: Bounds, overshoot: bool
) -> None:
    """Adds single groups, or takes them away, while that brings the total nearer.

    The layer with the largest remainder comes first.
    """
    while True:
        left = round(wanted.sum()) - int((groups * sizes).sum())
        step = 1 if left > 0 else -1
        fits = sizes < 2 * abs(left) if overshoot else sizes <= abs(left)
        if not _step(groups, wanted, sizes, bounds, step, fits):
            return


def _step(
    groups: np.ndarray,
    wanted: np.ndarray,
    sizes: np.ndarray,
    bounds: Bounds,
    step: int,
    among: np.ndarray,
) -> bool:
    """Gives the layer with the largest remainder a group (or takes one, step -1).

    Returns False where no layer has room.
    """
    fits = among & (groups + step >= bounds[0]) & (groups + step <= bounds[1])
    if fits.any():
        groups[np.argmax(np.where(fits, step * (wanted / sizes - groups), -np.inf))] += step
    return bool(fits.any())


MAX_EXCHANGED = 8  # groups of one size


def _exchange(groups: np.ndarray, wanted: np.ndarray, sizes: np.ndarray, bounds: Bounds) -> None:
    """Exchanges a few groups of one size for some of another to bring the total nearer."""
    left = round(wanted.sum()) - int((groups * sizes).sum())
    kinds = np.unique(sizes)[:3]
    if left == 0 or len(kinds) < 2:
        return
    steps = np.array(
        list(itertools.product(range(-MAX_EXCHANGED, MAX_EXCHANGED + 1), repeat=len(kinds)))
    )
    for i, kind in enumerate(kinds):
        same = sizes == kind
        more, fewer = (bounds[1] - groups)[same].sum(), (groups - bounds[0])[same].sum()
        steps = steps[(steps[:, i] <= more) & (steps[:, i] >= -fewer)]
    # the nearest, by the fewest exchanges
    order = np.lexsort((np.abs(steps).sum(1), np.abs(left - steps @ kinds)))
    for kind, count in zip(kinds, steps[order[0]], strict=True):
        for _ in range(abs(count)):
            _step(groups, wanted, sizes, bounds, int(np.sign(count)), sizes == kind)
