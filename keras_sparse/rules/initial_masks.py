"""The mask of a layer at the start of a training: random, or of its weights (NumPy only)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_sparse.rules.given_masks import GivenMasks
from keras_sparse.rules.mask_update import top_k_mask
from keras_sparse.rules.ragged import at_least_one
from keras_sparse.rules.received import received
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
        raise ValueError(f"`initial_masks` must be {rule}. {received(initial_masks=kind)}")
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
