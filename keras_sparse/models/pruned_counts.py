"""How many weights of each layer stay where a model is pruned to a density."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.asked import affordable_weights, ask
from keras_sparse.rules.density import active_counts
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.scores import Score
from keras_sparse.rules.whole_groups import check_groups_fit, to_whole_groups


def counts_of(
    layers: Sequence[MaskedLayer],
    density: float,
    distribution: Any,
    scope: str,
    rule: Score,
    rng: np.random.Generator,
) -> list[int]:
    """The active weights of each layer, in whole groups, by a distribution or one threshold.

    Raises:
        ValueError: one group in each layer is more than the density.
    """
    names, shapes = [layer.name for layer in layers], [layer.mask.shape for layer in layers]
    structure = layers[0].structure
    if scope == "global":
        wanted = round(density * sum(layer.mask.size for layer in layers))
        counts = global_counts(layers, wanted, rule, rng)
    else:
        of_each = active_counts(names, shapes, density, distribution)
        wanted, counts = sum(of_each), to_whole_groups(of_each, shapes, structure)
    check_groups_fit(wanted, counts, names, shapes, structure)
    return counts


def affordable_counts(
    layers: Sequence[MaskedLayer],
    costs: Sequence[int],
    density: float,
    distribution: Any,
    scope: str,
    rule: Score,
    rng: np.random.Generator,
) -> list[int]:
    """The active weights of each layer that a budget in multiply-adds can pay."""
    names, shapes = [layer.name for layer in layers], [layer.mask.shape for layer in layers]
    asked = ask(names, shapes, costs, density, distribution)
    for layer, cost in zip(layers, costs, strict=True):
        layer.cost = cost
    if scope == "global":
        return global_counts(layers, asked.budget, rule, rng, by_cost=True)
    active = [
        min(int(np.count_nonzero(layer.mask)), layer.structure.most_weights(layer.mask.shape))
        for layer in layers
    ]
    return affordable_weights(asked, shapes, layers[0].structure, costs, active)
