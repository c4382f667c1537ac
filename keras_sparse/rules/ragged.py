"""The best groups that hold at most a number of weights, where they differ in size (NumPy only).

Blocks do so in a kernel whose channels they do not divide.
"""

import numpy as np

from keras_sparse.rules.density import Shape
from keras_sparse.rules.structure import Structure


def fitting(
    scores: np.ndarray, sizes: np.ndarray, room: int, among: np.ndarray | None = None
) -> np.ndarray:
    """True at the groups of largest score that hold at most ``room`` weights together.

    A group that does not fit is left out, and smaller ones of lower score follow. So what is left
    of the room is less than any candidate that was left out has. Ties go to the lower flat index.

    Args:
        scores: float array without NaN.
        sizes: weights in each group, an array of that shape.
        room: number of weights.
        among: bool array of that shape, True at the candidates; None: all.

    >>> fitting(np.array([4.0, 3.0, 2.0, 1.0]), np.array([4, 4, 2, 1]), 7)
    array([ True, False,  True,  True])
    """
    flat, of_each = scores.ravel(), sizes.ravel()
    order = np.arange(flat.size) if among is None else np.flatnonzero(among)
    order = order[np.argsort(-flat[order], kind="stable")]
    chosen = np.zeros(flat.size, bool)
    while (order := order[of_each[order] <= room]).size:  # a round for each size, at most
        number = np.count_nonzero(np.cumsum(of_each[order]) <= room)
        chosen[order[:number]] = True
        room -= int(of_each[order[:number]].sum())
        order = order[number:]
    return chosen.reshape(scores.shape)


def at_least_one(
    scores: np.ndarray, sizes: np.ndarray, room: int, among: np.ndarray | None = None
) -> np.ndarray:
    """The same; where none fits, the group of largest score."""
    chosen = fitting(scores, sizes, room, among)
    if not chosen.any() and (among is None or among.any()):
        candidates = scores if among is None else np.where(among, scores, -np.inf)
        chosen.ravel()[np.argmax(candidates)] = True
    return chosen


def group_units(structure: Structure, shape: Shape) -> int:
    """What the largest group of a kernel counts, in its ``Structure.unit``.

    >>> group_units(ks.Blocks(4, 4), (4, 4)), group_units(ks.Blocks(4, 4), (4, 10))
    (1, 16)
    """
    return structure.group_size(shape) // structure.unit(shape)


def units_of(groups: np.ndarray, structure: Structure, shape: Shape) -> int:
    """What the groups that are True count, of a kernel of this shape, in its ``Structure.unit``."""
    if structure.is_ragged(shape):
        return int(structure.group_sizes(shape)[groups].sum())
    return int(np.count_nonzero(groups))
