"""What a density asks for, where it is a share of what all weights cost (NumPy only)."""

import fractions
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from keras_sparse.rules import density as densities
from keras_sparse.rules.cost_budget import affordable
from keras_sparse.rules.density import Shape
from keras_sparse.rules.exact_counts import scaled
from keras_sparse.rules.ragged import group_units
from keras_sparse.rules.structure import Structure


@dataclass(frozen=True)
class Asked:
    """What a density asks for: active weights of each layer, not rounded, and what all may cost."""

    wanted: np.ndarray
    budget: int


def ask(
    names: Sequence[str],
    shapes: Sequence[Shape],
    costs: Sequence[int],
    density: float,
    distribution: Any,
) -> Asked:
    """What a density asks for, which is a share of the cost of all weights.

    Args:
        names: names of the layers, for a map and for errors.
        shapes: kernel shapes.
        costs: the cost of one weight of each layer, positive.
        density: cost of active weights / cost of all weights, in (0, 1].
        distribution: as for ``density.active_counts``. The counts of a function are scaled: only
            their proportions matter. A map gives the densities of layers, and so the budget.

    >>> ask("ab", [(10, 10), (10, 10)], [4, 1], 0.1, "uniform")
    Asked(wanted=array([10., 10.]), budget=50)
    """
    densities.check_density(density)
    densities.check_distribution(distribution)
    sizes = [math.prod(shape) for shape in shapes]
    if isinstance(distribution, Mapping):
        parts = densities.densities_by_map(names, density, distribution)
        wanted = np.array(parts) * sizes
    else:
        parts = [density] * len(sizes)
        all_costs = np.array(sizes, float) * costs
        wanted = scaled(_raw(distribution, shapes, density), all_costs, density) / costs
    budget = sum(_exactly(d) * n * c for d, n, c in zip(parts, sizes, costs, strict=True))
    return Asked(wanted, math.floor(budget))


def _raw(distribution: Any, shapes: Sequence[Shape], density: float) -> list[float]:
    """Numbers to which the densities of the layers are proportional."""
    if isinstance(distribution, str):
        distribution = densities.NAMED[distribution]
    if distribution in densities.PROPORTIONAL:
        return [densities.PROPORTIONAL[distribution](shape) for shape in shapes]
    counts = distribution(shapes, density)
    return [max(int(n), 1) / math.prod(shape) for n, shape in zip(counts, shapes, strict=True)]


def _exactly(density: float) -> fractions.Fraction:
    """The shortest decimal number that this float stands for: 0.1 is a tenth.

    A schedule of Keras returns float32.
    """
    single = np.float32(density)
    return fractions.Fraction(str(single if float(single) == density else float(density)))


def affordable_weights(
    asked: Asked,
    shapes: Sequence[Shape],
    structure: Structure,
    costs: Sequence[int],
    most: Sequence[int],
    by_distribution: bool = True,
) -> list[int]:
    """Active weights of each layer, in whole groups, that the budget can pay; each has a group.

    Layers whose groups differ in size are counted in weights, of which ``ragged.fitting`` makes
    groups.

    Args:
        asked: what a density asks for.
        shapes: kernel shapes.
        structure: what the masks are made of.
        costs: the cost of one weight of each layer.
        most: weights of each layer, in whole groups, that must not be exceeded.
        by_distribution: False: layers keep the proportions of ``most``.

    >>> asked = Asked(np.array([40.0, 40.0]), 200)
    >>> affordable_weights(asked, [(8, 8), (8, 8)], ks.Blocks(4, 4), [4, 1], [64, 64])
    [32, 64]
    """
    units = np.array([structure.unit(shape) for shape in shapes], np.int64)
    prices, limits = units * np.array(costs, np.int64), np.array(most, np.int64) // units
    wanted: np.ndarray = asked.wanted / units
    if not by_distribution:
        wanted = limits * min(1.0, asked.budget / max(1, int((limits * prices).sum())))
    groups = np.array([group_units(structure, shape) for shape in shapes], np.int64)
    least = np.minimum(groups, limits)
    return [int(n) for n in affordable(asked.budget, wanted, limits, prices, least) * units]
