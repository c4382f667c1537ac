"""Exact integer budgets say how many weights each layer loses and regains (NumPy only)."""

from dataclasses import dataclass

import numpy as np

from keras_sparse.rules.exact_counts import largest_remainder

MINIMUM_SPARSITY = 0.2  # a layer with fewer missing weights than this is nearly dense
MAXIMUM_REGROWTH = 0.99  # no layer is filled beyond this part of its free places


@dataclass(frozen=True)
class Counts:
    """The layers before an update, one entry each; counts are in groups of weights."""

    active: np.ndarray
    missing: np.ndarray
    group_size: np.ndarray
    shares: np.ndarray  # non-negative, sum 1
    is_ragged: bool = False  # do groups of a layer differ in size? group_size is the largest then
    most: np.ndarray | None = None  # that may be active at a time; None: all

    def free(self, pruned: np.ndarray) -> np.ndarray:
        """Groups that may grow in each layer when it has lost these."""
        places = self.missing if self.most is None else self.most - self.active
        return places + pruned


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
    # 1e-9: 0.07 * 100 is 7.000000000000001 in floating point, and its ceiling must be 7.
    rounded_up, nearest = np.ceil(rate * counts.active - 1e-9), np.floor(rate * counts.active + 0.5)
    wanted = np.where(counts.group_size == 1, rounded_up, nearest).astype(np.int64)
    return np.minimum(wanted, np.maximum(counts.active - 1, 0))


def grow_counts(counts: Counts, pruned: np.ndarray) -> np.ndarray:
    """Groups to grow in each layer; in all, the number of weights that were pruned.

    Layer i wants its share, at most 99 % of its free places. What does not fit is spread equally
    over the layers with room, until all is placed. Only if every layer is at its cap do the caps
    give way.
    """
    free = counts.free(pruned)
    total = int((pruned * counts.group_size).sum())
    caps = np.floor(MAXIMUM_REGROWTH * free + 1e-9).astype(np.int64)
    if int((caps * counts.group_size).sum()) < total:
        caps = free
    wanted = spread(counts.shares * total, (caps * counts.group_size).astype(float))
    grown: np.ndarray | None
    if (counts.group_size == 1).all():
        grown = largest_remainder(wanted, total, caps)
    else:
        grown = _round_to_groups(wanted, total, caps, counts.group_size)
    if grown is None:  # groups of these sizes cannot add up: each layer regrows what it lost
        return pruned
    return _without_empty_layers(counts, pruned, grown)


def spread(wanted: np.ndarray, caps: np.ndarray) -> np.ndarray:
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
