"""The masked weights of a model, with masks from its optimizer, its sparse layers or its zeros."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_sparse._keras import to_float32
from keras_sparse.compute.kernel_axes import owners_of_weights
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.conversion.sparsify import mask_of
from keras_sparse.models.quantized import is_packed, nonzero_of_quantized
from keras_sparse.training.find_optimizer import sparse_momentum_of
from keras_sparse.training.selection import kernels


def masked_weights(model: keras.Model) -> list[tuple[Any, np.ndarray]]:
    """Weights with their masks, bool arrays of their shapes, True = active.

    With a SparseMomentum, they are the weights that it masks, and the kernels of frozen layers.
    Without one, they are all kernels, with the masks of sparse layers or of nonzero weights.
    Kernels that Keras has quantized are among them. Where a byte holds two weights, the mask has
    the shape that the kernel had before.

    Raises:
        ValueError: the weights do not fit the masks of the SparseMomentum.
    """
    optimizer = sparse_momentum_of(model)
    if optimizer is None or not optimizer.built or optimizer.begins_anew:
        return _own_masks(model, kernels(model))
    variables, own = optimizer.masked_variables, set(map(id, model.weights))
    known = set(map(id, variables))
    masked = zip(variables, optimizer.fitting_masks(), strict=True)
    frozen = [v for v in kernels(model) if not v.trainable and id(v) not in known]
    # quantized layers have other variables than the optimizer was built with
    return [*((v, mask) for v, mask in masked if id(v) in own), *_own_masks(model, frozen)]


class ExplorationRates(NamedTuple):
    """Weights ever active / all weights, by the id of each masked weight, and of all of them."""

    of_weights: dict[int, float]
    of_all: float


def exploration_rates(model: keras.Model) -> ExplorationRates | None:
    """The rates of the model's SparseMomentum; None if there is none, or if it is not built."""
    optimizer = sparse_momentum_of(model)
    if optimizer is None or not optimizer.built or optimizer.begins_anew:
        return None
    counts = [(one, one.counts().ever) for one in optimizer.masked_weights]
    rates = {id(one.variable): ever / one.size for one, ever in counts}
    total = sum(one.size for one, _ in counts)
    return ExplorationRates(rates, sum(ever for _, ever in counts) / total if total else 1.0)


def _own_masks(model: keras.Model, variables: Sequence[Any]) -> list[tuple[Any, np.ndarray]]:
    """Weights with the masks that they tell without an optimizer."""
    owners, found = owners_of_weights(model), []
    for variable in variables:
        layer = owners.get(id(variable))
        if layer is None or not is_packed(layer, variable):
            found.append((variable, _mask_of(variable)))
        elif (mask := nonzero_of_quantized(layer)) is not None:
            found.append((variable, mask))
    return found


def _mask_of(variable: Any) -> np.ndarray:
    return to_float32(variable) != 0 if kernel_mask_of(variable) is None else mask_of(variable)
