"""SRigL's mask update of one layer: a constant fan-in, and units that lose all weights.

Source: Lasby et al. 2024, Dynamic Sparse Training with Structured Sparsity (arXiv 2305.02299),
section 3. Units without weights stay without.
"""

import numpy as np

from keras_sparse.rules.mask_update import top_k_mask


def first_mask(inputs: int, units: int, fan_in: int, rng: np.random.Generator) -> np.ndarray:
    """A random mask (inputs, units) with ``fan_in`` active weights of each unit."""
    return _best_of_units(rng.random((inputs, units)), fan_in)


def updated(
    weight: np.ndarray, gradient: np.ndarray, mask: np.ndarray, prune_rate: float, ablation: float
) -> np.ndarray:
    """The next mask.

    Args:
        weight: (inputs, units).
        gradient: the same, dense.
        mask: bool, the same number of active weights in each unit that has any.
        prune_rate: share of the active weights that are pruned and regrown.
        ablation: a unit loses all weights if less than this share of its fan-in is salient: kept by
            the magnitude, or grown by the gradient, over the whole layer. 0: none does.

    Returns:
        A mask with at most as many active weights.
    """
    active = int(np.count_nonzero(mask))
    count = round(prune_rate * active)
    alive = mask.any(0)
    kept = top_k_mask(np.abs(weight), active - count, mask)
    free = ~mask & alive
    grown = top_k_mask(np.abs(gradient), min(count, int(np.count_nonzero(free))), free)
    fan_in = int(mask.sum(0).max())
    fewest = max(1, int(np.ceil(ablation * fan_in))) if ablation else 0
    enough = alive & ((kept | grown).sum(0) >= fewest)
    if enough.any():
        alive = enough
    fan_in = min(len(weight), active // int(alive.sum()))
    # Kept weights by magnitude come before all others, which come by the gradient.
    score = np.abs(gradient) / (np.abs(gradient).max() + 1e-30)
    score[kept] = 2 + np.abs(weight)[kept]
    return _best_of_units(score, fan_in) & alive


def _best_of_units(score: np.ndarray, count: int) -> np.ndarray:
    """True at the best of each column."""
    order = np.argsort(-score, axis=0, kind="stable")
    mask = np.zeros(score.shape, bool)
    np.put_along_axis(mask, order[:count], True, axis=0)
    return mask
