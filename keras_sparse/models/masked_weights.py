"""The masked weights of a model, with masks from its optimizer, its sparse layers or its zeros."""

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sparse._keras import to_float32
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.conversion.sparsify import mask_of
from keras_sparse.training.find_optimizer import sparse_momentum_of
from keras_sparse.training.selection import kernels


def masked_weights(model: keras.Model) -> list[tuple[Any, np.ndarray]]:
    """Weights with their masks, bool arrays of their shapes, True = active.

    With a SparseMomentum, they are the weights that it masks, and the kernels of frozen layers.
    Without one, they are all kernels, with the masks of sparse layers or of nonzero weights.

    Raises:
        ValueError: the weights do not fit the masks of the SparseMomentum.
    """
    optimizer = sparse_momentum_of(model)
    if optimizer is None or not optimizer.built or optimizer.begins_anew:
        return [(variable, _mask_of(variable)) for variable in kernels(model)]
    variables = optimizer.masked_variables
    fitting = optimizer.fitting_masks()
    known = set(map(id, variables))
    frozen = [v for v in kernels(model) if not v.trainable and id(v) not in known]
    return [*zip(variables, fitting, strict=True), *((v, _mask_of(v)) for v in frozen)]


class ExplorationRates(NamedTuple):
    """Weights ever active / all weights, by the id of each masked weight, and of all of them."""

    of_weights: dict[int, float]
    of_all: float


def exploration_rates(model: keras.Model) -> ExplorationRates | None:
    """The rates of the model's SparseMomentum; None if there is none, or if it is not built."""
    optimizer = sparse_momentum_of(model)
    if optimizer is None or not optimizer.built or optimizer.begins_anew:
        return None
    counts = [(one, one.counts()[1]) for one in optimizer.masked_weights]
    rates = {id(one.variable): ever / one.size for one, ever in counts}
    total = sum(one.size for one, _ in counts)
    return ExplorationRates(rates, sum(ever for _, ever in counts) / total if total else 1.0)


def _mask_of(variable: Any) -> np.ndarray:
    return to_float32(variable) != 0 if kernel_mask_of(variable) is None else mask_of(variable)
