"""``to_whole_groups`` rounds counts of weights to whole groups, near their total (NumPy only)."""

import itertools
import math
import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from keras_sparse.rules.asked import Asked, affordable_weights
from keras_sparse.rules.density import Shape
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure


def to_whole_groups(
    wanted: Iterable[int],
    shapes: Sequence[Shape],
    structure: Structure,
    at_most: Iterable[int] | None = None,
    only_up: bool = False,
) -> list[int]:
    """Weights of each layer in whole groups, whose total is the nearest to that of ``wanted``.

    Groups are rounded down. The rest is given out by the largest remainder over all layers. Each
    layer has at least one group, and none more than may be active at a time. Where groups of a
    layer differ in size, that layer is counted in weights. The total is then never above that of
    ``wanted``, unless one group in each layer is.

    Args:
        wanted: weights of each layer.
        shapes: kernel shapes.
        structure: what the masks are made of.
        at_most: weights of each layer, in whole groups, that must not be exceeded. None: all.
        only_up: True: no layer gets fewer whole groups than its ``wanted`` has. Where nothing grows
            back, a layer that gave up a group for this total would miss it later.

    >>> to_whole_groups([22, 20], [(8, 8), (8, 8)], ks.Blocks(4, 4))
    [32, 16]
    """
    if structure == Weights():
        return [int(n) for n in wanted]
    limits = [structure.most_weights(shape) for shape in shapes]
    if at_most is not None:
        limits = [min(pair) for pair in zip(limits, at_most, strict=True)]
    if isinstance(structure, Weights) or any(map(structure.is_ragged, shapes)):
        return _where_groups_differ(list(wanted), shapes, structure, limits)
    sizes = np.array([structure.group_size(shape) for shape in shapes], np.int64)
    most = np.array(limits, np.int64) // sizes
    counts = np.array(list(wanted), float)
    groups = np.clip((counts // sizes).astype(np.int64), 1, most)
    bounds = (groups.copy() if only_up else np.ones_like(groups), most)
    _come_near(groups, counts, sizes, bounds, overshoot=False)
    _come_near(groups, counts, sizes, bounds, overshoot=True)
    _exchange(groups, counts, sizes, bounds)
    return [int(n) for n in groups * sizes]


def check_groups_fit(
    wanted: int,
    counts: Sequence[int],
    names: Sequence[str],
    shapes: Sequence[Shape],
    structure: Structure,
) -> None:
    """Raises ValueError if one group in each layer is at least a group more than wanted.

    Warns where it is more than half a group, so that other counts would be nearer.
    """
    largest = max(structure.group_size(shape) for shape in shapes)
    excess, total = sum(counts) - wanted, sum(map(math.prod, shapes))
    if excess >= largest:
        raise ValueError(
            f"`density` leaves fewer active weights ({wanted}) than one block in each of the "
            f"{len(shapes)} masked layers has ({sum(counts)}), with {structure}. "
            "Choose smaller blocks, a higher density, or name layers in `dense`. "
            f"Received: {list(names)}"
        )
    if 2 * excess > largest:
        warnings.warn(
            f"The density will be {sum(counts) / total:.4g} where {wanted / total:.4g} was asked "
            f"for: each masked layer keeps one block, with {structure}. Choose smaller blocks, a "
            "higher density, or name layers in `dense`.",
            stacklevel=2,
        )


def _where_groups_differ(
    wanted: list[int], shapes: Sequence[Shape], structure: Structure, most: list[int]
) -> list[int]:
    """A budget of costs, where each weight costs 1."""
    groups = (min(structure.group_size(s), n) for s, n in zip(shapes, most, strict=True))
    asked = Asked(np.array(wanted, float), max(round(sum(wanted)), sum(groups)))
    return affordable_weights(asked, shapes, structure, [1] * len(shapes), most)


Bounds = tuple[np.ndarray, np.ndarray]  # groups of each layer: the least and the most


def _come_near(
    groups: np.ndarray, wanted: np.ndarray, sizes: np.ndarray, bounds: Bounds, overshoot: bool
) -> None:
    """Adds single groups, or takes them away, while that brings the total nearer.

    The layer with the largest remainder comes first.
    """
    while True:
        left = round(wanted.sum()) - int((groups * sizes).sum())
        step = 1 if left > 0 else -1
        fits = sizes < 2 * abs(left) if overshoot else sizes <= abs(left)
        if not _step(groups, wanted, sizes, bounds, step, fits):
            return


def _step(
    groups: np.ndarray,
    wanted: np.ndarray,
    sizes: np.ndarray,
    bounds: Bounds,
    step: int,
    among: np.ndarray,
) -> bool:
    """Gives the layer with the largest remainder a group (or takes one, step -1).

    Returns False where no layer has room.
    """
    fits = among & (groups + step >= bounds[0]) & (groups + step <= bounds[1])
    if fits.any():
        groups[np.argmax(np.where(fits, step * (wanted / sizes - groups), -np.inf))] += step
    return bool(fits.any())


MAX_EXCHANGED = 8  # groups of one size


def _exchange(groups: np.ndarray, wanted: np.ndarray, sizes: np.ndarray, bounds: Bounds) -> None:
    """Exchanges a few groups of one size for some of another to bring the total nearer."""
    left = round(wanted.sum()) - int((groups * sizes).sum())
    kinds = np.unique(sizes)[:3]
    if left == 0 or len(kinds) < 2:
        return
    steps = np.array(
        list(itertools.product(range(-MAX_EXCHANGED, MAX_EXCHANGED + 1), repeat=len(kinds)))
    )
    for i, kind in enumerate(kinds):
        same = sizes == kind
        more, fewer = (bounds[1] - groups)[same].sum(), (groups - bounds[0])[same].sum()
        steps = steps[(steps[:, i] <= more) & (steps[:, i] >= -fewer)]
    # the nearest, by the fewest exchanges
    order = np.lexsort((np.abs(steps).sum(1), np.abs(left - steps @ kinds)))
    for kind, count in zip(kinds, steps[order[0]], strict=True):
        for _ in range(abs(count)):
            _step(groups, wanted, sizes, bounds, int(np.sign(count)), sizes == kind)
