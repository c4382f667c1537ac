"""One mask update: prune, redistribute, grow (NumPy only).

The method is sparse momentum (Dettmers & Zettlemoyer 2019, arXiv 1907.04840, algorithm 1) with
exact integer budgets: the number of active weights is the same before and after every update, or
what they cost is never more than a budget. It prunes and grows whole groups of weights, see
``keras_sparse.rules.structure``. Where groups of a layer differ in size, the number of active
weights is a budget, too: never more, and less by less than a group.
"""

from collections.abc import Sequence

import numpy as np

from keras_sparse.rules.at_once import for_each_layer
from keras_sparse.rules.budget import grow_counts, prune_counts
from keras_sparse.rules.cost_budget import grow_within
from keras_sparse.rules.group_scores import active_groups, group_score
from keras_sparse.rules.layer_counts import count_layers
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.ragged import units_of
from keras_sparse.rules.ragged_update import grow_where_groups_differ, keep_fitting
from keras_sparse.rules.scores import Score, Share


def top_k_mask(score: np.ndarray, k: int, among: np.ndarray | None = None) -> np.ndarray:
    """True at the k largest scores, ties to the lower flat index.

    Args:
        score: float array without NaN.
        k: number of scores to choose, at most the number of candidates.
        among: bool array, True at the candidates; None: all.

    Raises:
        ValueError: ``k`` is negative, or more than there are candidates.

    >>> top_k_mask(np.array([3.0, 1.0, 3.0, 3.0]), 2)
    array([ True, False,  True, False])
    """
    if among is not None and among.all():
        among = None
    flat = score.ravel()
    allowed = None if among is None else among.ravel()
    candidates = flat.copy() if allowed is None else flat[allowed]
    if not 0 <= k <= candidates.size:
        raise ValueError(
            f"`k` must be in [0, {candidates.size}], the number of candidates. Received: k={k}"
        )
    if k == candidates.size:
        return np.ones(score.shape, bool) if among is None else among.copy()
    if k == 0:
        return np.zeros(score.shape, bool)
    candidates.partition(candidates.size - k)
    kth = candidates[candidates.size - k]
    del candidates  # its memory is wanted for what follows
    chosen, tied = flat > kth, flat == kth
    if allowed is not None:
        chosen &= allowed
        tied &= allowed
    chosen[np.flatnonzero(tied)[: k - np.count_nonzero(chosen)]] = True
    return chosen.reshape(score.shape)


def update_masks(
    layers: Sequence[MaskedLayer],
    prune_rate: float,
    prune: Score,
    redistribute: Share | None,
    grow: Score,
    rng: np.random.Generator,
    budget: int | None = None,
) -> list[np.ndarray]:
    """One mask update of all layers together.

    Args:
        layers: the masked layers; each is read up to three times, in order, and never all at once.
        prune_rate: share of the active weights of each layer to prune, in [0, 1].
        prune: score of the active weights; the smallest are pruned.
        redistribute: share of each layer in what is regrown; None: each layer regrows what it lost.
        grow: score of the missing weights, just-pruned ones included; the largest become active.
        rng: source of randomness for scores.
        budget: what all active weights may cost after the update, by the ``cost`` of the layers;
            at least what they cost now. Shares are then shares of cost. None: the number of active
            weights stays the same, or is the budget where groups of a layer differ in size.

    Returns:
        New masks, bool, of the weights' shapes. The given arrays are not changed. No layer loses
        its last active weight. With a budget, less of it is left than the cheapest weight of a
        layer with a missing one costs, or the cheapest group.

    Raises:
        ValueError: prune rate outside [0, 1]; a score with NaN, or a share that is not finite
            (names the layer).
    """
    if not 0.0 <= prune_rate <= 1.0:
        raise ValueError(f"`prune_rate` must be in [0, 1]. Received: prune_rate={prune_rate}")
    if not layers:
        return []
    counts = count_layers(layers, redistribute)
    pruned = prune_counts(counts, prune_rate)
    left = counts.active - pruned
    kept = for_each_layer(lambda i: _keep(layers[i], int(left[i]), prune, rng), len(layers), prune)
    if counts.is_ragged:
        by_share = redistribute is not None
        return grow_where_groups_differ(layers, counts, kept, grow, rng, budget, by_share)
    if budget is not None:
        costs = counts.group_size * [layer.cost for layer in layers]
        grown = grow_within(counts, pruned, costs, budget, by_share=redistribute is not None)
    else:
        grown = pruned if redistribute is None else grow_counts(counts, pruned)
    return for_each_layer(
        lambda i: _grow(layers[i], kept[i], int(grown[i]), grow, rng), len(layers), grow
    )


def _grow(
    layer: MaskedLayer, groups: np.ndarray, n: int, grow: Score, rng: np.random.Generator
) -> np.ndarray:
    """The mask with n more active groups than these, which are changed."""
    score, structure, shape = group_score(layer, grow, rng), layer.structure, layer.mask.shape
    del layer  # and the arrays that it has read: their memory is wanted for what follows
    groups |= top_k_mask(score, n, structure.eligible(score, ~groups, groups))
    return structure.from_groups(groups, shape)


def prune_to(
    layers: Sequence[MaskedLayer], active: Sequence[int], prune: Score, rng: np.random.Generator
) -> list[np.ndarray]:
    """Masks with at most ``active[i]`` weights in layer i: the smallest scores become missing.

    Weights are rounded to whole groups, and each layer keeps one. Where groups of a layer differ in
    size, they are rounded down; the next such layer gets what is left, by cost.

    Args:
        layers: the masked layers.
        active: weights that each layer keeps at most.
        prune: score of the active weights; the largest stay.
        rng: source of randomness for scores.

    Raises:
        ValueError: NaN in a score (names the layer).
    """
    masks, left = [], 0
    for layer, n in zip(layers, active, strict=True):
        structure, shape = layer.structure, layer.mask.shape
        if structure.is_ragged(shape):
            kept = keep_fitting(layer, int(n) + left // layer.cost, prune, rng)
            left = max(0, left + (int(n) - units_of(kept, structure, shape)) * layer.cost)
        else:
            count = max(1, round(n / structure.group_size(shape)))
            kept = _keep(layer, min(_count_active_groups(layer), count), prune, rng)
        masks.append(structure.from_groups(kept, shape))
    return masks


def _keep(layer: MaskedLayer, n: int, prune: Score, rng: np.random.Generator) -> np.ndarray:
    active, structure = active_groups(layer), layer.structure
    may_have_all = structure.most_groups(layer.mask.shape) == active.size
    if may_have_all and n == np.count_nonzero(active):
        return active.copy()
    score = group_score(layer, prune, rng)
    among = structure.eligible(score, active)
    return top_k_mask(score, min(n, int(np.count_nonzero(among))), among)


def _count_active_groups(layer: MaskedLayer) -> int:
    return int(np.count_nonzero(active_groups(layer)))
