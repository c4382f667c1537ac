"""Pruning and growing where groups of a layer differ in size, by a budget (NumPy only).

Such a layer is counted in weights, or by their cost; groups are taken where they fit. The budget is
never exceeded. What is left of it is less than the cheapest missing group costs.
"""

from collections.abc import Sequence

import numpy as np

from keras_sparse.rules.budget import Counts
from keras_sparse.rules.cost_budget import grow_within
from keras_sparse.rules.density import Shape
from keras_sparse.rules.group_scores import active_groups, group_score
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.ragged import at_least_one, fitting, group_units, units_of
from keras_sparse.rules.scores import Score


def keep_fitting(
    layer: MaskedLayer, room: int, prune: Score, rng: np.random.Generator
) -> np.ndarray:
    """The best active groups that hold at most this number of weights together, at least one."""
    active = active_groups(layer)
    if room >= np.count_nonzero(layer.mask):
        return active.copy()
    sizes = layer.structure.group_sizes(layer.mask.shape)
    return at_least_one(group_score(layer, prune, rng), sizes, room, active)


def grow_where_groups_differ(
    layers: Sequence[MaskedLayer],
    counts: Counts,
    kept: Sequence[np.ndarray],
    grow: Score,
    rng: np.random.Generator,
    budget: int | None,
    by_share: bool,
) -> list[np.ndarray]:
    """Masks of the groups that are kept and of those that the budget lets grow.

    Args:
        layers: the masked layers, with their masks before the update.
        counts: the same, in groups.
        kept: bool arrays of their groups, which are not pruned.
        grow: score of the missing groups.
        rng: source of randomness for scores.
        budget: what all active weights may cost after the update; None: what they cost before.
        by_share: False: each layer regrows what it lost.
    """
    shapes, units, total, active, stay = _in_units(layers, kept)
    prices = units * np.array([layer.cost for layer in layers], np.int64)
    in_units = Counts(active, total - active, units, counts.shares)
    budget = int(active @ prices) if budget is None else budget
    first = np.array([group_units(x.structure, s) for x, s in zip(layers, shapes, strict=True)])
    grown = grow_within(in_units, active - stay, prices, budget, by_share, first) * units
    left, groups = budget - int(stay @ prices), [one.copy() for one in kept]
    for layer, shape, own, n in zip(layers, shapes, groups, grown, strict=True):
        left -= layer.cost * _add(layer, shape, own, int(n), grow, rng)
    for layer, shape, own in zip(layers, shapes, groups, strict=True):  # of what did not fit
        left -= layer.cost * _add(layer, shape, own, left // layer.cost, grow, rng)
    of_each = zip(layers, shapes, groups, strict=True)
    return [layer.structure.from_groups(own, shape) for layer, shape, own in of_each]


def _in_units(
    layers: Sequence[MaskedLayer], kept: Sequence[np.ndarray]
) -> tuple[list[Shape], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shape and unit of each layer, see ``Structure.unit``; all, active and kept weights in it."""
    shapes, counts = [], []
    for layer, groups in zip(layers, kept, strict=True):
        structure, shape = layer.structure, layer.mask.shape
        these = np.ones(groups.shape, bool), structure.active_groups(layer.mask), groups
        shapes.append(shape)
        counts.append((structure.unit(shape), *(units_of(x, structure, shape) for x in these)))
    units, total, active, stays = np.array(counts, np.int64).T
    return shapes, units, total, active, stays


def _add(
    layer: MaskedLayer,
    shape: Shape,
    groups: np.ndarray,
    room: int,
    grow: Score,
    rng: np.random.Generator,
) -> int:
    """Adds the best missing groups that hold at most this number of weights; returns theirs."""
    sizes = layer.structure.group_sizes(shape)
    if not (~groups & (sizes <= room)).any():
        return 0
    added = fitting(group_score(layer, grow, rng), sizes, room, ~groups)
    groups |= added
    return int(sizes[added].sum())
