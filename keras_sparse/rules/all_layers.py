"""One threshold on the scores of all layers gives the weights that each keeps (NumPy only)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sparse.rules.cost_budget import affordable
from keras_sparse.rules.flags import check_word, is_word
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.received import received
from keras_sparse.rules.scores import Score

SCOPES = ("layer", "global")


def check_scope(scope: Any) -> str:
    """Returns ``scope``; raises ValueError unless it is one of SCOPES."""
    check_word("scope", scope, *SCOPES)
    return str(scope)


def check_no_distribution(scope: str, distribution: Any) -> None:
    """Raises ValueError where both scores and a distribution give each layer's weights."""
    if scope == "global" and not is_word(distribution, "uniform"):
        message = 'With `scope="global"` the scores decide what each layer keeps'
        raise ValueError(
            f"{message}: leave out `distribution`. {received(distribution=distribution)}",
        )


def global_counts(
    layers: Sequence[MaskedLayer],
    wanted: int,
    score: Score,
    rng: np.random.Generator,
    by_cost: bool = False,
) -> list[int]:
    """Active weights that each layer keeps, by one threshold on the scores of all layers.

    Each layer keeps at least one weight, or group of weights. Ties go to the earlier layer.

    Args:
        layers: the masked layers; missing weights do not compete.
        wanted: weights to keep in all layers together; groups are rounded to the nearest, and down
            where groups of a layer differ in size. All are kept where fewer are active. With
            ``by_cost``, what they may cost, never exceeded.
        score: the largest stay. Groups compete by the mean score of a weight.
        rng: source of randomness for the score; it is left as it was.
        by_cost: True: the budget is one of costs, by the ``cost`` of the layers.

    Raises:
        ValueError: NaN in the scores of active weights (names the layers); a budget of costs that
            does not pay for one group in each layer.

    >>> layers = [
    ...     MaskedLayer(name, np.array(weight), np.ones(3, bool))
    ...     for name, weight in (("a", [5.0, 4.0, 3.0]), ("b", [0.1, 3.5, 0.2]))
    ... ]
    >>> global_counts(layers, 3, lambda layer, rng: layer.weight, np.random.default_rng(0))
    [2, 1]
    """
    active = [int(np.count_nonzero(layer.mask)) for layer in layers]
    costs = np.array([layer.cost if by_cost else 1 for layer in layers], np.int64)
    if int(np.dot(active, costs)) <= wanted:
        return active
    state = rng.bit_generator.state
    found = [_means(layer, score, rng) for layer in layers]
    means, sizes = [mean for mean, _ in found], [size for _, size in found]
    rng.bit_generator.state = state  # the same scores again, when the masks are made
    if bad := [x.name for x, m in zip(layers, means, strict=True) if np.isnan(m).any()]:
        raise ValueError(
            "The scores, and so the weights, must not be NaN: look for a learning rate "
            f"that was too high, or bad data. Nothing was changed. Received: NaN in {bad}"
        )
    if any(isinstance(size, np.ndarray) for size in sizes):
        return _where_groups_differ(means, sizes, costs, wanted, by_cost)
    of_each = np.array(sizes)
    if by_cost:
        groups = _by_cost(means, of_each * costs, wanted)
    elif len(set(sizes)) == 1:
        groups = _by_threshold(means, int(np.floor(wanted / of_each[0] + 0.5)))
    else:
        groups = _by_rank(means, of_each, wanted)
    groups = np.maximum(groups, [min(mean.size, 1) for mean in means])
    return [int(count) for count in groups * of_each]


def _by_threshold(means: Sequence[np.ndarray], k: int) -> np.ndarray:
    """Groups of each layer among the k largest; no sorting, as there may be many millions."""
    total = sum(mean.size for mean in means)
    k = min(max(k, 1), total)
    kth = np.partition(np.concatenate(means), total - k)[total - k] if total else 0.0
    counts = np.array([np.count_nonzero(mean > kth) for mean in means])
    for i, mean in enumerate(means):
        counts[i] += min(k - int(counts.sum()), np.count_nonzero(mean == kth))
    return counts


def _by_rank(means: Sequence[np.ndarray], sizes: np.ndarray, wanted: int) -> np.ndarray:
    """Groups of each layer, whose sizes differ, by descending mean up to the wanted weights."""
    owners = np.repeat(np.arange(len(means)), [mean.size for mean in means])
    owners = owners[np.argsort(-np.concatenate(means), kind="stable")]
    size = sizes[owners]
    kept = owners[np.cumsum(size) <= wanted + size / 2]  # to the nearest group
    return np.bincount(kept, minlength=len(means))


def _by_cost(means: Sequence[np.ndarray], costs: np.ndarray, budget: int) -> np.ndarray:
    """Groups of each layer by descending mean until one does not fit; then those that still do."""
    owners = np.repeat(np.arange(len(means)), [mean.size for mean in means])
    owners = owners[np.argsort(-np.concatenate(means), kind="stable")]
    kept = owners[np.cumsum(costs[owners]) <= budget]
    most = np.array([mean.size for mean in means])
    return affordable(budget, np.bincount(kept, minlength=len(means)), most, costs, 1)


def _where_groups_differ(
    means: Sequence[np.ndarray],
    sizes: Sequence[int | np.ndarray],
    costs: np.ndarray,
    wanted: int,
    by_cost: bool,
) -> list[int]:
    """Weights of each layer by descending mean until a group does not fit; then what is payable.

    Layers whose groups differ in size are counted in weights.
    """
    each = [np.broadcast_to(size, m.shape) for size, m in zip(sizes, means, strict=True)]
    owners = np.repeat(np.arange(len(means)), [mean.size for mean in means])
    order = np.argsort(-np.concatenate(means), kind="stable")
    owners, ordered = owners[order], np.concatenate(each)[order]
    kept = np.cumsum(ordered * costs[owners]) <= wanted
    weights = np.bincount(owners[kept], weights=ordered[kept], minlength=len(means))
    units = np.array([1 if isinstance(size, np.ndarray) else size for size in sizes])
    most = np.array([int(size.sum()) for size in each]) // units
    least = np.array([int(size.max(initial=0)) for size in each]) // units
    if not by_cost:
        wanted = max(wanted, int((least * units).sum()))
    groups = affordable(wanted, weights / units, most, units * costs, least)
    return [int(count) for count in groups * units]


def _means(
    layer: MaskedLayer, score: Score, rng: np.random.Generator
) -> tuple[np.ndarray, int | np.ndarray]:
    """Mean scores of the active groups, and their sizes: one number where all are equal.

    The largest mean is infinite: each layer keeps a group.
    """
    structure, shape = layer.structure, layer.mask.shape
    scores = structure.to_groups(np.asarray(score(layer, rng)))
    active = structure.eligible(scores, structure.active_groups(layer.mask))
    size: int | np.ndarray = structure.group_size(shape)
    if structure.is_ragged(shape):
        size = structure.group_sizes(shape)[active]
    means = scores[active] / size
    if means.size and not np.isnan(means).any():
        means[np.argmax(means)] = np.inf
    return means, size
