"""A budget of costs: whole groups that cost no more, and hardly less (NumPy only).

With ``budget="multiply_adds"``, a weight costs the multiply-adds that it takes part in for one
example. All weights of a layer cost the same. Nothing ever exceeds the budget. What is left of it
is less than the cheapest group of a layer with room costs.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from keras_sparse.rules.budget import MAXIMUM_REGROWTH, Counts, spread


def affordable(
    budget: int, wanted: np.ndarray, most: np.ndarray, costs: np.ndarray, least: np.ndarray | int
) -> np.ndarray:
    """Whole groups of each layer near the wanted ones that the budget can pay.

    What a layer cannot take is spread equally, by cost, over the layers with room. Groups are
    rounded down. The rest goes to the largest remainders, then to the dearest groups that fit.

    Args:
        budget: what all groups may cost.
        wanted: groups of each layer, not rounded.
        most: groups of each layer that must not be exceeded.
        costs: the cost of one group of each layer.
        least: groups that each layer gets.

    Raises:
        ValueError: the budget does not pay for the least groups.

    >>> affordable(21, np.array([2.5, 3.0]), np.array([9, 9]), np.array([4, 3]), 1)
    array([3, 3])
    """
    unit = max(budget, 1) / 1e6  # `spread` stops at 1e-6, which must be more than a rounding error
    near = spread(wanted * costs / unit, most * costs / unit) * unit / costs
    groups = np.clip(np.floor(near + 1e-9).astype(np.int64), least, most)
    while (over := int((groups * costs).sum()) - budget) > 0:
        dearest = int(np.argmax((groups - least) * costs))
        spare = int((groups - least)[dearest])
        if not spare:
            needed = int((groups * costs).sum())
            raise ValueError(
                "`density` must leave multiply-adds for one weight, or block, in each masked "
                f"layer, {needed} in all: choose a higher density or smaller blocks, or name "
                f"layers in `dense`. Received: a budget of {budget} multiply-adds for "
                f"{len(groups)} layers"
            )
        groups[dearest] -= min(spare, -(-over // int(costs[dearest])))
    left = budget - int((groups * costs).sum())
    for i in np.argsort(groups - near, kind="stable"):
        if costs[i] <= left and groups[i] < most[i]:
            groups[i] += 1
            left -= int(costs[i])
    return spend(left, groups, most, costs)


def spend(left: int, groups: np.ndarray, most: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """Adds groups while one fits what is left of a budget: the dearest first."""
    groups = groups.copy()
    for i in np.argsort(-costs, kind="stable"):
        more = min(int(most[i] - groups[i]), left // int(costs[i]))
        groups[i] += more
        left -= more * int(costs[i])
    return groups


def cost_of(masks: Iterable[np.ndarray], costs: Sequence[int] | None) -> int:
    """What the active weights of all masks cost together.

    Args:
        masks: bool arrays.
        costs: the cost of one weight of each; None: 1.
    """
    counts = [int(np.count_nonzero(mask)) for mask in masks]
    return sum(n * cost for n, cost in zip(counts, costs or [1] * len(counts), strict=True))


def grow_within(
    counts: Counts,
    pruned: np.ndarray,
    costs: np.ndarray,
    budget: int,
    by_share: bool,
    first: np.ndarray | None = None,
) -> np.ndarray:
    """Groups to grow in each layer, so that all active groups cost at most the budget.

    Args:
        counts: the layers before the update.
        pruned: groups that each of them loses.
        costs: the cost of one group of each layer.
        budget: what all active groups may cost after the update.
        by_share: True: a layer gets its share of the cost that is free, at most 99 % of its free
            places. False: it regrows what it lost.
        first: what a layer without an active group gets, where that can be paid. None: 1.
    """
    free, kept = counts.free(pruned), counts.active - pruned
    left = budget - int((kept * costs).sum())
    caps = np.floor(MAXIMUM_REGROWTH * free + 1e-9).astype(np.int64) if by_share else free
    if int((caps * costs).sum()) < left:
        caps = free
    least = np.zeros(len(kept), np.int64)
    for i in np.flatnonzero((kept == 0) & (free > 0)):  # no layer stays empty
        group = 1 if first is None else min(int(first[i]), int(free[i]))
        least[i] = group if int((least * costs).sum()) + group * costs[i] <= left else 0
    wanted = counts.shares * left / costs if by_share else pruned.astype(float)
    grown = affordable(left, wanted, np.maximum(caps, least), costs, least)
    return spend(left - int((grown * costs).sum()), grown, free, costs)
