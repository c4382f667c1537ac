"""Masks for the start of a training, and for weights that were put back (NumPy only)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from keras_sparse.rules.cost_budget import cost_of
from keras_sparse.rules.density import Shape
from keras_sparse.rules.given_masks import GivenMasks
from keras_sparse.rules.mask_update import top_k_mask
from keras_sparse.rules.ragged import at_least_one
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure

KINDS = ("random", "magnitude", "nonzero", "snip")

Kind = str | GivenMasks


def check_kind(kind: Any) -> Kind:
    """Returns ``kind``, masks as GivenMasks; raises ValueError for another name than KINDS."""
    if isinstance(kind, Mapping):
        return kind if isinstance(kind, GivenMasks) else GivenMasks(kind)
    if not isinstance(kind, str) or kind not in KINDS:
        rule = f"one of {KINDS}, or a map from paths of weights to bool arrays"
        raise ValueError(f"`initial_masks` must be {rule}. Received: initial_masks={kind!r}")
    return kind


def initial_mask(
    kind: str,
    name: str,
    weight: np.ndarray,
    active: int,
    structure: Structure,
    rng: np.random.Generator,
) -> np.ndarray:
    """The first mask of one layer.

    Args:
        kind: ``"random"``; ``"magnitude"``, the largest weights of a trained model; ``"nonzero"``,
            the nonzero weights of a sparse checkpoint (then ``active`` is not used).
        name: name of the weight, for errors.
        weight: float array, kernel shape.
        active: number of active weights (rounded to groups, at least one; never above where groups
            differ in size).
        structure: what the mask is made of.
        rng: source of randomness.

    Raises:
        ValueError: ``"nonzero"`` finds only zeros (names the weight).
    """
    if kind == "nonzero":
        return nonzero_mask(name, weight, structure)
    if kind == "random" and not isinstance(structure, Weights):
        scores = _evenly_spread(structure.grid(weight.shape), rng)
    else:
        is_magnitude = kind == "magnitude"
        score = np.abs(weight) if is_magnitude else rng.random(weight.shape, dtype=np.float32)
        scores = structure.scores(score)
    if structure.is_ragged(weight.shape):
        groups = at_least_one(scores, structure.group_sizes(weight.shape), active)
    else:
        number = max(1, round(active / structure.group_size(weight.shape)))
        everywhere = np.ones(scores.shape, bool)
        groups = top_k_mask(scores, number, structure.eligible(scores, everywhere))
    return structure.from_groups(groups, weight.shape)


def nonzero_mask(name: str, weight: np.ndarray, structure: Structure) -> np.ndarray:
    """The smallest mask of whole groups that holds all nonzero weights of a layer.

    Raises:
        ValueError: there are none, or more than the structure allows (names the weight).
    """
    mask = structure.whole(weight != 0)
    if not mask.any():
        raise ValueError(
            f'`initial_masks="nonzero"` found no nonzero weight in {name!r}. Load the sparse '
            f"weights before training starts. Received: {weight.size} zeros"
        )
    structure.check_mask(name, mask)
    return mask


def _evenly_spread(grid: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Random scores, whose best groups are spread evenly over rows (last axis but one) and columns.

    Of any number of the best groups, the numbers in two rows differ by at most one, and so do those
    in two columns.

    Large groups are few. Drawn one by one they leave out many channels, which then get no gradient
    and do not come back. In a network without shortcuts it is then likely that nothing reaches the
    outputs. The first row and column, at the middle tap, is active in every layer: a way through.

    Args:
        grid: shape of the array of groups, (taps..., rows, columns).
        rng: source of randomness.
    """
    *taps, rows, columns = grid
    i = np.arange(math.prod(grid))
    down, right = i % rows, (i + i // math.lcm(rows, columns)) % columns  # along diagonals:
    turn = i // (rows * columns)  # every place once before any twice
    row, column = _permutation(rows, rng)[down], _permutation(columns, rng)[right]
    scores = np.empty((math.prod(taps), rows, columns))
    scores[_order_of_taps(scores.shape, rng)[turn, row, column], row, column] = -i
    return scores.reshape(grid)


def _order_of_taps(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Taps in random order for each row and column; at the first the middle tap comes first.

    Args:
        shape: (taps, rows, columns).
        rng: source of randomness; nothing is drawn for one tap.
    """
    taps = shape[0]
    order = np.broadcast_to(np.arange(taps)[:, np.newaxis, np.newaxis], shape)
    order = rng.permuted(order, axis=0)
    middle = order[:, 0, 0] == taps // 2
    order[middle, 0, 0], order[0, 0, 0] = order[0, 0, 0], taps // 2
    return order


def _permutation(n: int, rng: np.random.Generator) -> np.ndarray:
    """The numbers 0 ... n - 1 in random order, with 0 in its place."""
    return np.concatenate([[0], 1 + rng.permutation(n - 1)])


def reconcile(
    names: Sequence[str],
    weights: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    structure: Structure,
    costs: Callable[[], Sequence[int] | None] = lambda: None,
) -> list[np.ndarray]:
    """Masks that fit the weights: the given ones, or those of an earlier epoch.

    ``EarlyStopping(restore_best_weights=True)`` puts back weights but not the masks they were
    trained with. Their nonzeros are active, in whole groups. A layer's active groups that are
    exactly 0 are taken from the given mask, lowest index first, while the total allows.

    Args:
        names: names of the weights, for errors.
        weights: float arrays.
        masks: bool arrays of their shapes, of whole groups.
        structure: what the masks are made of.
        costs: gives the cost of one weight of each, for masks that fit a budget of costs; or None.

    Raises:
        ValueError: more nonzero weights than active ones, or dearer ones: the weights are not of
            this sparse run.
    """
    fit = all(not weight[~mask].any() for weight, mask in zip(weights, masks, strict=True))
    # NaN spreads over masks; the next update names the layer
    if fit or any(np.isnan(weight).any() for weight in weights):
        return list(masks)
    found = [structure.whole(weight != 0) for weight in weights]
    for name, own in zip(names, found, strict=True):
        structure.check_mask(name, own)
    of_each = costs()
    left = cost_of(masks, of_each) - cost_of(found, of_each)
    if left < 0:
        _raise_too_many(names, found, masks, structure)
    fitting = []
    for mask, own, cost in zip(masks, found, of_each or [1] * len(masks), strict=True):
        active = structure.active_groups(own).copy()
        among = structure.active_groups(mask) & ~active
        spare = np.flatnonzero(structure.eligible(np.zeros(among.shape), among, active))
        prices = cost * _sizes_at(spare, structure, mask.shape)
        payable = np.count_nonzero(np.cumsum(prices) <= left)
        active.ravel()[spare[:payable]] = True
        left -= int(prices[:payable].sum())
        fitting.append(structure.from_groups(active, mask.shape))
    return fitting


def _sizes_at(groups: np.ndarray, structure: Structure, shape: Shape) -> np.ndarray:
    """Weights in the groups of these flat indices."""
    if structure.is_ragged(shape):
        return structure.group_sizes(shape).ravel()[groups]
    return np.full(len(groups), structure.group_size(shape), np.int64)


def _raise_too_many(
    names: Sequence[str],
    found: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    structure: Structure,
) -> NoReturn:
    nonzero, active = cost_of(found, None), cost_of(masks, None)
    in_groups = "" if isinstance(structure, Weights) else f", in whole blocks ({structure}),"
    raise ValueError(
        f"The model's weights are not those of this sparse run: {nonzero} of them{in_groups} are "
        f"not zero and the masks have {active} active weights. To start sparse training from these "
        'weights, compile with a new SparseMomentum(..., initial_masks="magnitude") ("nonzero" if '
        f"they are sparse). Received: weights of {list(names)}"
    )
