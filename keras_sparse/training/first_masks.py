"""The first masks of Keras variables: as ``initial_masks`` says, of whole blocks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import has_value, of_the_first_worker, to_float32
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.rules import mask_bits
from keras_sparse.rules.cost_budget import cost_of
from keras_sparse.rules.initial_masks import Kind, initial_mask
from keras_sparse.rules.received import received
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure
from keras_sparse.rules.whole_groups import check_groups_fit, to_whole_groups

RANDOM_OVER_TRAINED = (
    "A random mask over trained weights throws away most of what they have learned. "
    'Pass `initial_masks="magnitude"` to keep the largest ("nonzero" if they are sparse already).'
)


def check_readable(kind: Kind, variables: Sequence[Any]) -> None:
    """Raises ValueError where masks of this kind look at weights that are not made yet."""
    if kind != "random" and not all(map(has_value, variables)):
        raise ValueError(
            "The weights that `initial_masks` looks at are only made in the first step: build the "
            "model before `fit`, with keras.Input or a call. "
            f"{received(initial_masks=kind)}"
        )


def first_masks(
    kind: str,
    variables: Sequence[Any],
    counts: Sequence[int],
    structure: Structure,
    rng: np.random.Generator,
    costs: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """Bool arrays of the weights' shapes.

    Where groups of a kernel differ in size, it gets what the ones before could not use.

    Args:
        kind: ``"random"``, ``"magnitude"`` or ``"nonzero"``, see ``initial_mask``.
        variables: the weights.
        counts: active weights of each, in whole groups; ``"nonzero"`` does not use them.
        structure: what the masks are made of.
        rng: source of randomness.
        costs: the cost of one weight of each; None: 1.

    Raises:
        ValueError: ``"nonzero"`` finds only zeros in a weight (names it).
    """
    masks, left = [], 0
    for variable, active, cost in zip(variables, counts, costs or [1] * len(counts), strict=True):
        weight = _initial_weight(kind, variable)
        is_ragged = structure.is_ragged(weight.shape)
        number = active + left // cost if is_ragged else active
        masks.append(initial_mask(kind, variable.path, weight, number, structure, rng))
        if is_ragged:
            left = max(0, left + (active - int(np.count_nonzero(masks[-1]))) * cost)
    return masks


def _initial_weight(kind: str, variable: Any) -> np.ndarray:
    """The weight that a first mask is made of.

    For ``"nonzero"`` the mask itself, where a sparse layer has one; ``"random"`` reads none.
    """
    if kind == "random":
        return np.broadcast_to(np.float32(0), variable.shape)  # takes no memory
    kernel_mask = kernel_mask_of(variable)
    if kind == "nonzero" and kernel_mask is not None and kernel_mask.density() < 1:
        return to_float32(kernel_mask.mask)
    return to_float32(variable)


def counts_in_groups(
    wanted: Sequence[int],
    variables: Sequence[Any],
    structure: Structure,
) -> list[int]:
    """Active weights per layer in whole groups, one at least, and their sum as it was.

    Raises:
        ValueError: one group in each layer is more than was asked for.
    """
    shapes = [tuple(variable.shape) for variable in variables]
    counts = to_whole_groups(wanted, shapes, structure)
    names = [variable.path for variable in variables]
    check_groups_fit(sum(wanted), counts, names, shapes, structure)
    return counts


def of_one_worker(masks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Masks that may depend on a worker's own data, on all workers those of the first one."""
    bits = [mask_bits.pack(mask) for mask in masks]
    ends = np.cumsum([len(one) for one in bits])
    words = of_the_first_worker(mask_bits.to_words(np.concatenate(bits)))
    pieces = np.split(mask_bits.from_words(words, ends[-1]), ends[:-1])
    return [mask_bits.unpack(p, mask.shape) for p, mask in zip(pieces, masks, strict=True)]


def notice_of_density(
    kind: str,
    masks: Sequence[np.ndarray],
    wanted: int,
    structure: Structure,
    costs: Sequence[int] | None = None,
) -> str | None:
    """What to warn of, where ``"nonzero"`` finds more active weights than wanted; else None.

    Weights that are not sparse, or not in blocks, do not become so.
    """
    found = cost_of(masks, costs)
    total = cost_of([np.ones(mask.shape, bool) for mask in masks], costs)
    if kind != "nonzero" or found <= wanted + 0.01 * total:
        return None
    in_groups = "" if isinstance(structure, Weights) else f" in whole blocks ({structure})"
    counted = "them" if costs is None else "the multiply-adds"
    return (
        'The density will not be the one asked for: initial_masks="nonzero" keeps all weights '
        f"that are not 0, {found / total:.3f} of {counted}{in_groups}. "
        'Pass initial_masks="magnitude" to prune to the density. '
        f"Received: a density of {wanted / total:.3f}"
    )
