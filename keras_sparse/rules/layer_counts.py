"""What a mask update counts of each layer before it changes anything (NumPy only)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_sparse.rules.at_once import for_each_layer
from keras_sparse.rules.budget import Counts
from keras_sparse.rules.group_scores import LOOK_FOR
from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.rules.scores import Share


class _Count(NamedTuple):
    """What an update counts of a layer: groups, weights in the largest, and the layer's share."""

    active: int
    total: int
    most: int
    group_size: int
    is_ragged: bool
    share: float


def count_layers(layers: Sequence[MaskedLayer], redistribute: Share | None) -> Counts:
    """Active and missing groups and the normalised share of every layer."""
    counts = for_each_layer(lambda i: _count(layers[i], redistribute), len(layers), redistribute)
    weight = np.array([one.share for one in counts], float)
    if not weight.any():  # no momentum yet, or no redistribution
        weight = np.ones(len(counts))
    columns = ("active", "total", "group_size", "most")
    n, total, sizes, most = (
        np.array([getattr(one, name) for one in counts], np.int64) for name in columns
    )
    is_ragged = any(one.is_ragged for one in counts)
    return Counts(n, total - n, sizes, weight / weight.sum(), is_ragged, most)


def _count(layer: MaskedLayer, redistribute: Share | None) -> _Count:
    structure, mask = layer.structure, layer.mask
    shape = mask.shape
    structure.check_mask(layer.name, mask)
    active = int(np.count_nonzero(structure.active_groups(mask)))
    share = _share(layer, redistribute) if active and redistribute else 0.0
    return _Count(
        active,
        total=math.prod(structure.grid(shape)),
        most=structure.most_groups(shape),
        group_size=structure.group_size(shape),
        is_ragged=structure.is_ragged(shape),
        share=share,
    )


def _share(layer: MaskedLayer, redistribute: Share) -> float:
    share = float(redistribute(layer))
    if not math.isfinite(share) or share < 0:
        raise ValueError(
            f"The share of layer {layer.name!r} must be finite and not negative. "
            f"Received: share={share}. The masks were not changed. NaN or infinity here means "
            f"that its weights or momentum are. {LOOK_FOR}."
        )
    return share
