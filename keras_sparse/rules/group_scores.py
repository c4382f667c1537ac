"""The groups of a layer: which are active, and their scores by a rule (NumPy only)."""

import math

import numpy as np

from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.scores import Score

LOOK_FOR = "Look for a learning rate that is too high, or bad data"


def active_groups(layer: MaskedLayer) -> np.ndarray:
    """Bool array of groups; ValueError where one is active in part."""
    layer.structure.check_whole(layer.name, layer.mask)
    return layer.structure.active_groups(layer.mask)


def group_score(layer: MaskedLayer, rule: Score, rng: np.random.Generator) -> np.ndarray:
    """The score of each group by a rule, see ``Structure.scores``; ValueError for NaN."""
    score = np.asarray(rule(layer, rng))
    if score.shape != layer.mask.shape:
        raise ValueError(
            "A score must have the weight's shape. "
            f"Received: shape {score.shape} for {layer.name!r} of shape {layer.mask.shape}"
        )
    groups = layer.structure.scores(score)
    if groups.size and math.isnan(groups.max()):  # max propagates NaN and costs no temporary
        count = np.count_nonzero(np.isnan(groups))
        raise ValueError(
            f"NaN in the scores of layer {layer.name!r}: its weights, momentum or gradient are "
            f"NaN. The masks were not changed. {LOOK_FOR}. "
            f"Received: {count} NaN in {groups.size} scores"
        )
    return groups
