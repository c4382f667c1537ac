"""The masked weights of a model and their masks, whoever holds these: an optimizer, sparse layers, or zeros."""

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

    They are those that the model's SparseMomentum masks, and kernels of frozen layers. Without a SparseMomentum they are
    all kernels, with the masks of sparse layers, else with the places that are not 0.

    Raises:
        ValueError: weights that are not those of this sparse run.
    """
    optimizer = sparse_momentum_of(model)
    if optimizer is None or not optimizer.built:
        return [(variable, _mask_of(variable)) for variable in kernels(model)]
    variables = optimizer.masked_variables
    fitting = optimizer.fitting_masks()
    known = set(map(id, variables))
    frozen = [v for v in kernels(model) if not v.trainable and id(v) not in known]
    return [*zip(variables, fitting, strict=True), *((v, _mask_of(v)) for v in frozen)]


class ExplorationRates(NamedTuple):
    """Weights ever active / all weights: of each masked weight, by its id, and of all together."""

    of_weights: dict[int, float]
    of_all: float


def exploration_rates(model: keras.Model) -> ExplorationRates | None:
    """Those that the model's SparseMomentum knows; None where there is none, or it is not built."""
    optimizer = sparse_momentum_of(model)
    if optimizer is None or not optimizer.built:
        return None
    counts = [(one, one.counts()[1]) for one in optimizer.masked_weights]
    rates = {id(one.variable): ever / one.size for one, ever in counts}
    total = sum(one.size for one, _ in counts)
    return ExplorationRates(rates, sum(ever for _, ever in counts) / total if total else 1.0)


def _mask_of(variable: Any) -> np.ndarray:
    return to_float32(variable) != 0 if kernel_mask_of(variable) is None else mask_of(variable)
