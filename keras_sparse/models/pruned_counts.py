"""How many weights of each layer stay where a model is pruned to a density."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.asked import affordable_weights, ask
from keras_sparse.rules.density import active_counts
from keras_sparse.rules.scores import MaskedLayer, Score
from keras_sparse.rules.whole_groups import to_whole_groups


def counts_by_distribution(
    layers: Sequence[MaskedLayer], density: float, distribution: Any
) -> list[int]:
    """The active weights of each layer by a distribution, in whole groups."""
    names, shapes = [layer.name for layer in layers], [layer.mask.shape for layer in layers]
    wanted = active_counts(names, shapes, density, distribution)
    return to_whole_groups(wanted, shapes, layers[0].structure)


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
