"""Scores rank weights, shares rank layers (NumPy only).

A prune or grow rule is a score: ``(layer, rng) -> array of the weight's shape``, larger = keep, or
grow. A redistribution rule is a share: ``(layer) -> one number``, larger = regrow more weights
here. Rules count nothing: ``mask_update`` does, so that no rule can break the budget.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from keras_sparse.rules.masked_layer import MaskedLayer as MaskedLayer  # as `ks.scores.MaskedLayer`
from keras_sparse.rules.received import received

Score = Callable[[MaskedLayer, np.random.Generator], np.ndarray]
Share = Callable[[MaskedLayer], float]
Rule = TypeVar("Rule", bound=Callable[..., Any])


def needs(*what: str) -> Callable[[Rule], Rule]:
    """Marks a rule as one that reads ``"momentum"`` or ``"gradient"``.

    The optimizer then keeps it, or raises where it cannot.

    Raises:
        ValueError: any other name.
    """
    if unknown := set(what) - {"momentum", "gradient"}:
        raise ValueError(
            f'`what` must be "momentum" or "gradient", or both. Received: {sorted(unknown)}'
        )

    def mark(rule: Rule) -> Rule:
        rule.needs = frozenset(what)  # type: ignore[attr-defined]
        return rule

    return mark


def needs_of(*rules: object) -> frozenset[str]:
    """What these rules read, of all that ``needs`` names."""
    return frozenset().union(*(getattr(rule, "needs", frozenset()) for rule in rules))


def magnitude(layer: MaskedLayer, rng: np.random.Generator) -> np.ndarray:
    """|weight|."""
    return np.abs(layer.weight)


@needs("momentum")
def momentum(layer: MaskedLayer, rng: np.random.Generator) -> np.ndarray:
    """|momentum|: sparse momentum's growth signal."""
    return np.abs(layer.momentum)


@needs("gradient")
def gradient(layer: MaskedLayer, rng: np.random.Generator) -> np.ndarray:
    """|dense gradient of the last step|: RigL's growth signal (Evci et al. 2020)."""
    return np.abs(layer.gradient)


def random(layer: MaskedLayer, rng: np.random.Generator) -> np.ndarray:
    """Uniform noise: SET's growth signal (Mocanu et al. 2018)."""
    return rng.random(layer.mask.shape, dtype=np.float32)


@needs("momentum")
def mean_momentum(layer: MaskedLayer) -> float:
    """Mean |momentum| of the active weights: sparse momentum's share."""
    return _mean(np.abs(layer.momentum[layer.mask]))


def mean_magnitude(layer: MaskedLayer) -> float:
    """Mean |weight| of the active weights."""
    return _mean(np.abs(layer.weight[layer.mask]))


def active_count(layer: MaskedLayer) -> float:
    """Number of active weights."""
    return float(np.count_nonzero(layer.mask))


SCORES: dict[str, Score] = {
    "magnitude": magnitude,
    "momentum": momentum,
    "gradient": gradient,
    "random": random,
}
SHARES: dict[str, Share] = {
    "mean_momentum": mean_momentum,
    "mean_magnitude": mean_magnitude,
    "active_count": active_count,
}


def get_score(rule: object, argument: str) -> Score | None:
    """A score by name, function or None."""
    return _get(rule, SCORES, argument)


def get_share(rule: object, argument: str) -> Share | None:
    """A share by name, function or None."""
    return _get(rule, SHARES, argument)


def _get(rule: Any, named: Mapping[str, Rule], argument: str) -> Rule | None:
    if rule is None or callable(rule):
        return rule
    if isinstance(rule, str) and rule in named:
        return named[rule]
    raise ValueError(
        f"`{argument}` must be one of {sorted(named)}, a function, or None. "
        f"{received(**{argument: rule})}"
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else 0.0
