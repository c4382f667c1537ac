"""Masks that fit weights of an earlier epoch, which were put back without theirs (NumPy only)."""

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from keras_sparse.rules.cost_budget import cost_of
from keras_sparse.rules.density import Shape
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure


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
