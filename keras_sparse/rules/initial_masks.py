"""The masks that training starts with, and masks for weights that were put back (NumPy only)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse.rules.blocks import BlockShape, block_size, from_blocks, to_blocks, whole_blocks
from keras_sparse.rules.given_masks import GivenMasks
from keras_sparse.rules.mask_update import top_k_mask

KINDS = ("random", "magnitude", "nonzero", "snip")

Kind = str | GivenMasks


def check_kind(kind: Any) -> Kind:
    """Returns ``kind``, masks as GivenMasks; raises ValueError for another name than KINDS."""
    if isinstance(kind, Mapping):
        return kind if isinstance(kind, GivenMasks) else GivenMasks(kind)
    if not isinstance(kind, str) or kind not in KINDS:
        rule = f"one of {KINDS}, or a map from paths of weights to bool arrays"
        raise ValueError(f"`initial_masks` must be {rule}. Received: initial_masks={kind!r}")
    return kind


def initial_mask(
    kind: str,
    name: str,
    weight: np.ndarray,
    active: int,
    block_shape: BlockShape,
    rng: np.random.Generator,
) -> np.ndarray:
    """The first mask of one layer.

    Args:
        kind: ``"random"``; ``"magnitude"``, the largest weights of a trained model; ``"nonzero"``, what a sparse
            checkpoint's weights say (then ``active`` is not used).
        name: of the weight, for errors.
        weight: float array, kernel shape.
        active: number of active weights (rounded to blocks, at least one).
        block_shape: (in, out) channels of a block or None.
        rng: source of randomness.
    """
    if kind == "nonzero":
        mask = from_blocks(to_blocks(weight != 0, block_shape) > 0, weight.shape, block_shape)
        if not mask.any():
            raise ValueError(
                f'`initial_masks="nonzero"` found no nonzero weight in {name!r}. Load the sparse weights before training starts. Received: {weight.size} zeros'
            )
        return mask
    number = max(1, round(active / block_size(weight.shape, block_shape)))
    if kind == "random" and block_shape is not None:
        rows, columns = weight.shape[-2] // block_shape[0], weight.shape[-1] // block_shape[1]
        return from_blocks(_evenly_spread(rows, columns, number, rng), weight.shape, block_shape)
    score = np.abs(weight) if kind == "magnitude" else rng.random(weight.shape, dtype=np.float32)
    return from_blocks(top_k_mask(to_blocks(score, block_shape), number), weight.shape, block_shape)


def _evenly_spread(rows: int, columns: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """A random mask of so many blocks, with the first one, whose rows differ by one at most, and whose columns do, too.

    Blocks are few. Drawn one by one they leave out many channels altogether, which then get no gradient and do not come back; and in
    a network without shortcuts it is likely that nothing reaches the outputs. The first block of every layer is a way through.
    """
    i = np.arange(number)
    down, right = (
        i % rows,
        (i + i // math.lcm(rows, columns)) % columns,
    )  # along diagonals: every place once before any twice
    mask = np.zeros((rows, columns), bool)
    mask[_permutation(rows, rng)[down], _permutation(columns, rng)[right]] = True
    return mask


def _permutation(n: int, rng: np.random.Generator) -> np.ndarray:
    """Of 0 ... n - 1, where 0 stays."""
    return np.concatenate([[0], 1 + rng.permutation(n - 1)])


def reconcile(
    names: Sequence[str],
    weights: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    block_shape: BlockShape = None,
) -> list[np.ndarray]:
    """Masks that fit the weights: the given ones, or those of an earlier epoch if such weights were put back.

    ``EarlyStopping(restore_best_weights=True)`` puts back weights but not the masks they were trained with. Their
    nonzeros are active, in whole blocks; a layer's active blocks that are exactly 0 are taken from the given mask, lowest
    index first, while the total allows.

    Args:
        names: of the weights, for errors.
        weights: float arrays.
        masks: bool arrays of their shapes, of whole blocks.
        block_shape: (in, out) channels of a block, or None.

    Raises:
        ValueError: more nonzero weights than active ones: these are not the weights of this sparse run.
    """
    fit = all(not weight[~mask].any() for weight, mask in zip(weights, masks, strict=True))
    if fit or any(
        np.isnan(weight).any() for weight in weights
    ):  # NaN spreads over masks; the next update names the layer
        return list(masks)
    found = [whole_blocks(weight != 0, block_shape) for weight in weights]
    total = sum(map(np.count_nonzero, masks))
    left = total - sum(map(np.count_nonzero, found))
    if left < 0:
        in_blocks = "" if block_shape is None else f", in whole blocks of {block_shape},"
        raise ValueError(
            f"The model's weights are not those of this sparse run: {total - left} of them{in_blocks} are not zero and the masks have {total} "
            'active weights. To start sparse training from these weights, compile with a new SparseMomentum(..., initial_masks="magnitude") '
            f'("nonzero" if they are sparse). Received: weights of {list(names)}'
        )
    fitting = []
    for mask, own in zip(masks, found, strict=True):
        size = block_size(mask.shape, block_shape)
        active = to_blocks(own, block_shape) > 0
        spare = np.flatnonzero((to_blocks(mask, block_shape) > 0) & ~active)[: left // size]
        active.reshape(-1)[spare] = True
        left -= len(spare) * size
        fitting.append(from_blocks(active, mask.shape, block_shape))
    return fitting
