"""Masks follow weights that were put back: those of an earlier epoch, as EarlyStopping does."""

import warnings

import numpy as np

from keras_sparse.rules.initial_masks import nonzero_mask
from keras_sparse.training.phases import AlternatingOverTraining
from keras_sparse.training.sparse_momentum import SparseMomentum


def follow_restored_weights(optimizer: SparseMomentum) -> None:
    """Gives the optimizer the masks of an earlier epoch where its weights were put back.

    Raises:
        ValueError: weights that are of no epoch of this training.
    """
    try:
        optimizer.follow_weights()
    except ValueError:
        if not callable(optimizer.density):
            raise
        # earlier weights are denser
        optimizer.assign_masks(_nonzero_masks(optimizer), optimizer.trained_weights())


def follow_last_weights(optimizer: SparseMomentum) -> None:
    """The same at the end of a training, whose weights are not lost for an error: it warns."""
    try:
        follow_restored_weights(optimizer)
        _follow_sparse_phase(optimizer)
    except ValueError as error:
        warnings.warn(str(error), stacklevel=2)


def _follow_sparse_phase(optimizer: SparseMomentum) -> None:
    """A training that is stopped in a dense phase may get back weights of a sparse one."""
    density = optimizer.density
    if not isinstance(density, AlternatingOverTraining) or not optimizer.built:
        return
    if optimizer.density_is_above(density.final):
        masks = _nonzero_masks(optimizer)
        if not optimizer.density_is_above(density.final, masks):
            optimizer.assign_masks(masks, optimizer.trained_weights())


def _nonzero_masks(optimizer: SparseMomentum) -> list[np.ndarray]:
    """Of each trained weight the mask that is True where it is not 0."""
    weights = optimizer.trained_weights()
    return [nonzero_mask(one.name, one.value, optimizer.structure) for one in weights]
