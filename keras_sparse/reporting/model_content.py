"""What a report of a model shows: the figures, masks and values of each masked weight."""

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import to_float32, to_numpy
from keras_sparse.compute.kernel_axes import input_axes, output_axes, owners_of_weights
from keras_sparse.conversion.progress import progress
from keras_sparse.models.masked_weights import masked_weights
from keras_sparse.models.plots import Recorded
from keras_sparse.models.summary import summary, timed_step
from keras_sparse.models.summary_figures import Masked
from keras_sparse.reporting.content import Content, Weight, compressed_bytes, weight_of
from keras_sparse.reporting.measured import layer_times
from keras_sparse.training.find_optimizer import sparse_momentum_of


def of_model(
    model: keras.Model,
    recorded: Recorded | None = None,
    input_shape: Any = None,
    batch: int | None = None,
    measure: bool = False,
) -> Content:
    """The content for a model; the arguments are those of ``report``.

    Raises:
        ValueError: as ``summary``.
    """
    with progress("report"):
        described = summary(model, "dict", input_shape, batch)
        masked = masked_weights(model)
        weights = list(_weights(model, described["layers"], masked))
        if measure:
            timed = timed_step(model, input_shape, batch, "measure", with_parts=True)
            described["total"] |= timed
        return Content(
            name=model.name,
            weights=weights,
            total=described["total"],
            sizes=_sizes(model, masked, weights),
            recorded=recorded and _without_prefix(recorded, model.name),
            batch=batch,
            layers=layer_times(model, input_shape, batch) if measure else (),
        )


def _without_prefix(recorded: Recorded, model: str) -> Recorded:
    lines = {name.removeprefix(f"{model}/"): line for name, line in recorded.lines.items()}
    return Recorded(recorded.positions, recorded.label, lines)


def _weights(
    model: keras.Model, rows: Sequence[dict[str, Any]], masked: Sequence[Masked]
) -> Iterator[Weight]:
    owners, names = owners_of_weights(model), _names(model)
    for row, (variable, mask) in zip(rows, masked, strict=True):
        layer = owners[id(variable)]
        axes = input_axes(layer, mask.ndim), output_axes(layer, mask.ndim)
        name = names.get(id(variable), variable.path).removeprefix(f"{model.name}/")
        if tuple(variable.shape) == mask.shape:
            values, stored = to_float32(variable), to_numpy(variable)
            size = compressed_bytes(np.where(mask, stored, 0))
            yield weight_of(name, row, mask, axes, values, size)
        else:  # of a quantized layer
            yield weight_of(name, row, mask, axes, None, compressed_bytes(to_numpy(variable)))


def _names(model: keras.Model) -> dict[int, str]:
    """``{id of a weight: its name in the history of UpdateMasks}``."""
    optimizer = sparse_momentum_of(model)
    weights = [] if optimizer is None or not optimizer.built else optimizer.masked_weights
    return {id(one.variable): one.name for one in weights}


def _sizes(
    model: keras.Model, masked: Sequence[Masked], weights: Sequence[Weight]
) -> dict[str, int]:
    known = {id(variable) for variable, _ in masked}
    arrays = {id(variable): to_numpy(variable) for variable in model.weights}
    others = sum(compressed_bytes(array) for key, array in arrays.items() if key not in known)
    return {
        "in memory, zeros included": sum(array.nbytes for array in arrays.values()),
        "compressed": others + sum(weight.stored or 0 for weight in weights),
    }
