"""Masks of all layers together: the largest magnitudes or sensitivities are active."""

import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import to_float32
from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.mask_update import prune_to
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.scores import magnitude
from keras_sparse.rules.structure import Structure


def competing_counts(
    variables: Sequence[Any],
    wanted: int,
    structure: Structure,
    costs: Sequence[int] | None = None,
) -> list[int]:
    """Active weights per layer where the magnitudes of all layers compete.

    Args:
        variables: the weights.
        wanted: active weights in all layers together; with ``costs``, what they may cost.
        structure: what the masks are made of.
        costs: the cost of one weight of each layer; None: the budget is in weights.
    """
    weights = [(variable.path, to_float32(variable)) for variable in variables]
    layers = _competing(weights, structure, costs)
    rng = np.random.default_rng()  # draws nothing
    return global_counts(layers, wanted, magnitude, rng, costs is not None)


def _competing(
    scores: Iterable[tuple[str, np.ndarray]],
    structure: Structure,
    costs: Sequence[int] | None,
) -> list[MaskedLayer]:
    """Layers of these magnitudes without a missing weight."""
    return [
        MaskedLayer(name, score, np.ones(score.shape, bool), structure=structure, cost=cost)
        for (name, score), cost in zip(scores, costs or itertools.repeat(1), strict=False)
    ]


def sensitivity_masks(
    scores: Mapping[str, np.ndarray],
    wanted: int,
    structure: Structure,
    costs: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """Masks of the weights of largest connection sensitivity; all layers compete.

    Args:
        scores: {path of the weight: float array of its shape, not negative}.
        wanted: active weights in all layers together; with ``costs``, what they may cost.
        structure: what the masks are made of.
        costs: the cost of one weight of each layer; None: the budget is in weights.

    Raises:
        ValueError: NaN (names the layers), or scores that are all 0.
    """
    layers = _competing(scores.items(), structure, costs)
    rng = np.random.default_rng()  # draws nothing
    counts = global_counts(layers, wanted, magnitude, rng, costs is not None)
    _check_informative(scores, sum(counts))
    return prune_to(layers, counts, magnitude, rng)


def _check_informative(scores: Mapping[str, np.ndarray], wanted: int) -> None:
    """Raises ValueError for scores that are all 0, and warns of more active weights than scores."""
    known = sum(int(np.count_nonzero(score)) for score in scores.values())
    total = sum(score.size for score in scores.values())
    if known == 0:
        raise ValueError(
            "All sensitivities are 0: no weight moves the loss of this batch. Look for a layer "
            "whose weights are all 0, or missing: then nothing passes through it. "
            f"Received: {list(scores)}"
        )
    if known < wanted < total:
        warnings.warn(
            f"Only {known} weights move the loss of this batch, and {wanted} are to be active: the "
            "others are the first ones. Take a larger batch, or a lower density.",
            stacklevel=4,
        )
