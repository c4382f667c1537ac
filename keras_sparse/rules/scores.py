"""Scores rank weights, shares rank layers (NumPy only).

A prune or grow rule is a score: ``(layer, rng) -> array of the weight's shape``, larger = keep, or
grow. A redistribution rule is a share: ``(layer) -> one number``, larger = regrow more weights
here. Rules count nothing: ``mask_update`` does, so that no rule can break the budget.
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure

Read = np.ndarray | Callable[[], np.ndarray]
Score = Callable[["MaskedLayer", np.random.Generator], np.ndarray]
Share = Callable[["MaskedLayer"], float]
Rule = TypeVar("Rule", bound=Callable[..., Any])


class MaskedLayer:
    """One masked weight, as scores and shares see it.

    An array that costs a copy is read when a rule first asks for it.

    Args:
        name: path of the weight, e.g. ``"lenet/conv2d/kernel"``.
        weight: float array, kernel shape, e.g. (h, w, in, out).
        mask: bool array of that shape, True = active.
        momentum: float array of that shape, dense: filled where the mask is False, too.
        gradient: the dense gradient of the last step, same shape; it is kept only for rules that
            need it.
        block_shape: (in, out) channels of one block over all taps, or None for single weights; the
            short form of ``structure``.
        structure: a structure such as ``keras_sparse.Blocks``, or None: what ``block_shape`` says.
        cost: what one active weight costs, where the budget is one of costs: its multiply-adds.

    Each array may also be a function without arguments that reads it.

    Attributes:
        structure: what the mask is made of, a Structure.

    Raises:
        ValueError: arrays of different shapes, or a mask that is not bool.
    """

    def __init__(
        self,
        name: str,
        weight: Read,
        mask: Read,
        momentum: Read | None = None,
        gradient: Read | None = None,
        block_shape: BlockShape = None,
        structure: Structure | None = None,
        cost: int = 1,
    ) -> None:
        self.name, self.cost = name, cost
        self.structure = as_structure(block_shape, structure)
        self._sources = {"weight": weight, "mask": mask, "momentum": momentum, "gradient": gradient}
        self._check_arrays()

    def _check_arrays(self) -> None:
        """Raises ValueError for arrays of different shapes, or a mask that is not bool."""
        arrays = {name: a for name, a in self._sources.items() if isinstance(a, np.ndarray)}
        if "mask" in arrays and arrays["mask"].dtype != bool:
            raise ValueError(f"`mask` must be bool. Received: mask.dtype={arrays['mask'].dtype}")
        if len({array.shape for array in arrays.values()}) > 1:
            shapes = ", ".join(f"{name}.shape={array.shape}" for name, array in arrays.items())
            raise ValueError(f"All arrays must have the shape of `weight`. Received: {shapes}")

    @property
    def block_shape(self) -> BlockShape:
        """(in, out) channels of a block over all taps; None for any other structure."""
        return self.structure.block_shape

    @cached_property
    def weight(self) -> np.ndarray:
        return self._read("weight")

    @cached_property
    def mask(self) -> np.ndarray:
        return self._read("mask")

    @cached_property
    def momentum(self) -> np.ndarray:
        return self._read("momentum")

    @cached_property
    def gradient(self) -> np.ndarray:
        return self._read("gradient")

    def __repr__(self) -> str:
        kept = [what for what, source in self._sources.items() if source is not None]
        return f"MaskedLayer({self.name!r}, {self.structure}, of {', '.join(kept)})"

    def _read(self, what: str) -> np.ndarray:
        source = self._sources[what]
        if source is None:
            raise ValueError(
                f"A rule asks for the {what} of {self.name!r}, which is not kept. "
                f"Mark the rule with `@keras_sparse.scores.needs({what!r})`. Received: {self!r}"
            )
        return source() if callable(source) else source


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
        f"Received: {argument}={rule!r}"
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else 0.0
