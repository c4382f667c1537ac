"""Which weights are active next?  One mask update: prune, redistribute, grow (NumPy only).

The method is sparse momentum (Dettmers & Zettlemoyer 2019, arXiv 1907.04840, algorithm 1) with exact integer budgets:
the number of active weights is the same before and after every update.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keras_sparse.blocks import block_size, from_blocks, to_blocks
from keras_sparse.density import largest_remainder
from keras_sparse.scores import MaskedLayer, Score, Share

MINIMUM_SPARSITY = 0.2  # a layer with fewer missing weights than this is nearly dense
MAXIMUM_REGROWTH = 0.99  # no layer is filled beyond this part of its free places


@dataclass(frozen=True)
class Counts:
    """What one update knows of the layers before it starts; counts are in blocks (a single weight is a block of 1)."""

    active: np.ndarray
    missing: np.ndarray
    block_size: np.ndarray
    shares: np.ndarray  # non-negative, sum 1


def top_k_mask(score: np.ndarray, k: int, among: np.ndarray | None = None) -> np.ndarray:
    """True at the k largest scores, ties to the lower flat index.

    Args:
        score: float array without NaN.
        k: how many, at most the number of candidates.
        among: bool array, True at the candidates; None: all.

    >>> top_k_mask(np.array([3.0, 1.0, 3.0, 3.0]), 2)
    array([ True, False,  True, False])
    """
    flat = score.reshape(-1)
    allowed = None if among is None else among.reshape(-1)
    candidates = flat if allowed is None else flat[allowed]
    if not 0 <= k <= candidates.size:
        raise ValueError(f"`k` must be in [0, {candidates.size}], the number of candidates. Received: k={k}")
    if k == candidates.size:
        return np.ones(score.shape, bool) if among is None else among.copy()
    if k == 0:
        return np.zeros(score.shape, bool)
    kth = np.partition(candidates, candidates.size - k)[candidates.size - k]
    del candidates  # its memory is wanted for what follows
    chosen, tied = flat > kth, flat == kth
    if allowed is not None:
        chosen &= allowed
        tied &= allowed
    chosen[np.flatnonzero(tied)[: k - np.count_nonzero(chosen)]] = True
    return chosen.reshape(score.shape)


def update_masks(
    layers: Sequence[MaskedLayer],
    prune_rate: float,
    prune: Score,
    redistribute: Share | None,
    grow: Score,
    rng: np.random.Generator,
) -> list[np.ndarray]:
    """One mask update of all layers together.

    Args:
        layers: the masked layers; each is read up to three times, in order, and never all at once.
        prune_rate: share of the active weights of each layer to prune, in [0, 1].
        prune: score of the active weights; the smallest are pruned.
        redistribute: share of each layer in what is regrown; None: each layer regrows what it lost.
        grow: score of the missing weights, just-pruned ones included; the largest become active.
        rng: source of randomness for scores.

    Returns:
        New masks, bool, of the weights' shapes. The given arrays are not changed. The number of active weights stays
        the same, and no layer that had one is left without.

    Raises:
        ValueError: prune rate outside [0, 1]; a score with NaN, a share that is not finite (with the layer's name).
    """
    if not 0.0 <= prune_rate <= 1.0:
        raise ValueError(f"`prune_rate` must be in [0, 1]. Received: prune_rate={prune_rate}")
    counts = count_layers(layers, redistribute)
    pruned = prune_counts(counts, prune_rate)
    kept = [_keep(layer, int(n), prune, rng) for layer, n in zip(layers, counts.active - pruned, strict=True)]
    grown = pruned if redistribute is None else grow_counts(counts, pruned)
    masks = []
    for layer, blocks, n in zip(layers, kept, grown, strict=True):
        blocks |= top_k_mask(_block_score(layer, grow, rng), int(n), ~blocks)
        masks.append(from_blocks(blocks, layer.mask.shape, layer.block_shape))
    return masks


def prune_to(layers: Sequence[MaskedLayer], active: Sequence[int], prune: Score, rng: np.random.Generator) -> list[np.ndarray]:
    """Masks with at most ``active[i]`` weights in layer i (rounded to blocks): the smallest scores become missing."""
    masks = []
    for layer, n in zip(layers, active, strict=True):
        size = block_size(layer.mask.shape, layer.block_shape)
        blocks = min(_active_blocks(layer), max(1, round(n / size)))
        masks.append(from_blocks(_keep(layer, blocks, prune, rng), layer.mask.shape, layer.block_shape))
    return masks


def count_layers(layers: Sequence[MaskedLayer], redistribute: Share | None) -> Counts:
    """Active and missing blocks and the normalised share of every layer."""
    active, total, sizes, shares = [], [], [], []
    for layer in layers:
        active.append(_active_blocks(layer))
        sizes.append(block_size(layer.mask.shape, layer.block_shape))
        total.append(layer.mask.size // sizes[-1])
        shares.append(_share(layer, redistribute) if active[-1] and redistribute else 0.0)
    weight = np.array(shares, float)
    if not weight.any():  # no momentum yet, or nobody asked
        weight = np.ones(len(shares))
    n = np.array(active, np.int64)
    return Counts(n, np.array(total, np.int64) - n, np.array(sizes, np.int64), weight / weight.sum())


def prune_counts(counts: Counts, prune_rate: float) -> np.ndarray:
    """Blocks to prune per layer: ceil(rate * active), less where an important layer is nearly dense; one always stays."""
    missing = counts.missing / np.maximum(counts.missing + counts.active, 1)
    important = counts.shares > 1.0 / len(counts.shares)
    rate = np.where((missing < MINIMUM_SPARSITY) & important, np.minimum(missing, prune_rate), prune_rate)
    # 1e-9: 0.1 * 30 is 3.0000000000000004 in floating point, and its ceiling is meant to be 3.
    wanted = np.ceil(rate * counts.active - 1e-9).astype(np.int64)
    return np.minimum(wanted, np.maximum(counts.active - 1, 0))


def grow_counts(counts: Counts, pruned: np.ndarray) -> np.ndarray:
    """Blocks to grow per layer, in all as many weights as were pruned.

    Layer i wants its share, at most 99 % of its free places; what does not fit is spread equally over the layers with
    room, until all is placed. Only if every layer is at its cap do the caps give way.
    """
    free = counts.missing + pruned
    total = int((pruned * counts.block_size).sum())
    caps = np.floor(MAXIMUM_REGROWTH * free + 1e-9).astype(np.int64)
    if int((caps * counts.block_size).sum()) < total:
        caps = free
    wanted = _spread(counts.shares * total, (caps * counts.block_size).astype(float))
    grown: np.ndarray | None
    if (counts.block_size == 1).all():
        grown = largest_remainder(wanted, total, caps)
    else:
        grown = _round_to_blocks(wanted, total, caps, counts.block_size)
    if grown is None:  # blocks of these sizes cannot add up to the total: nobody gains, nobody loses
        return pruned
    return _without_empty_layers(counts, pruned, grown)


def _spread(wanted: np.ndarray, caps: np.ndarray) -> np.ndarray:
    """Clips ``wanted`` at ``caps`` and spreads the excess equally over the parts with room; the sum stays."""
    placed = np.minimum(wanted, caps)
    excess = float((wanted - placed).sum())
    while excess > 1e-6:
        room = placed < caps
        if not room.any():
            break
        given = np.where(room, np.minimum(placed + excess / room.sum(), caps), placed)
        excess -= float((given - placed).sum())
        placed = given
    return placed


def _round_to_blocks(wanted: np.ndarray, total: int, caps: np.ndarray, sizes: np.ndarray) -> np.ndarray | None:
    """Whole blocks near ``wanted`` weights that add up to ``total`` weights, or None where there is no such sum."""
    grown = np.minimum(np.floor(wanted / sizes + 1e-9).astype(np.int64), caps)
    left = total - int((grown * sizes).sum())
    for i in np.argsort(-(wanted - grown * sizes) / sizes, kind="stable"):  # largest remainder first, one block each
        if sizes[i] <= left and grown[i] < caps[i]:
            grown[i] += 1
            left -= int(sizes[i])
    for i in np.argsort(-sizes, kind="stable"):  # the rest, large blocks first
        more = min(int(caps[i] - grown[i]), left // int(sizes[i]))
        grown[i] += more
        left -= more * int(sizes[i])
    return grown if left == 0 else None


def _without_empty_layers(counts: Counts, pruned: np.ndarray, grown: np.ndarray) -> np.ndarray:
    """A layer that came without an active block takes one from the layer of equal blocks that grows most."""
    for i in np.flatnonzero((counts.active - pruned + grown) == 0):
        donors = np.where((counts.block_size == counts.block_size[i]) & (grown > 0), grown, 0)
        donor = int(np.argmax(donors))
        if donors[donor] > 0 and (counts.active - pruned + grown)[donor] > 1:
            grown[donor] -= 1
            grown[i] += 1
    return grown


def _keep(layer: MaskedLayer, n: int, prune: Score, rng: np.random.Generator) -> np.ndarray:
    active = _block_mask(layer)
    if n == np.count_nonzero(active):
        return active.copy()
    return top_k_mask(_block_score(layer, prune, rng), n, active)


def _block_score(layer: MaskedLayer, rule: Score, rng: np.random.Generator) -> np.ndarray:
    score = np.asarray(rule(layer, rng))
    if score.shape != layer.mask.shape:
        raise ValueError(f"A score must have the weight's shape. Received: shape {score.shape} for {layer.name!r} of shape {layer.mask.shape}")
    blocks = to_blocks(score, layer.block_shape)
    if blocks.size and math.isnan(blocks.max()):  # max propagates NaN and costs no temporary
        raise ValueError(
            f"NaN in the scores of layer {layer.name!r}: its weights, momentum or gradient are NaN. The masks were not changed. "
            "Look for a learning rate that is too high, or bad data."
        )
    return blocks


def _share(layer: MaskedLayer, redistribute: Share) -> float:
    share = float(redistribute(layer))
    if not math.isfinite(share) or share < 0:
        raise ValueError(
            f"The share of layer {layer.name!r} must be finite and not negative. Received: share={share}. The masks were not changed. "
            "NaN or infinity here means that its weights or momentum are: look for a learning rate that is too high, or bad data."
        )
    return share


def _block_mask(layer: MaskedLayer) -> np.ndarray:
    return layer.mask if layer.block_shape is None else to_blocks(layer.mask, layer.block_shape) > 0


def _active_blocks(layer: MaskedLayer) -> int:
    return int(np.count_nonzero(_block_mask(layer)))
