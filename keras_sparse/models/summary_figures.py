"""The figures of ``summary``: a row for each masked weight, and the total."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.compute.choice import measured
from keras_sparse.compute.kernel_axes import (
    dead_channels,
    input_axes,
    output_axes,
    owners_of_weights,
)
from keras_sparse.conversion.sparsify import has_sparse_layers
from keras_sparse.models.masked_weights import exploration_rates, masked_weights
from keras_sparse.models.runs_as import multiplying_layers, runs_as
from keras_sparse.models.summary_table import COLUMNS
from keras_sparse.tracing.multiply_adds import MultiplyAdds, count_multiply_adds
from keras_sparse.training.find_optimizer import sparse_momentum_of

Masked = tuple[Any, np.ndarray]


def described(model: keras.Model, input_shape: Any, batch: int | None) -> dict[str, Any]:
    """What ``summary`` returns as a dict, without a time; the arguments are its own."""
    counted = count_multiply_adds(model, input_shape, batch)
    owners, masked = owners_of_weights(model), masked_weights(model)
    rows = [_describe_weight(v, mask, owners[id(v)], counted) for v, mask in masked]
    if has_sparse_layers(model):
        around = multiplying_layers(model)
        for row, (v, _) in zip(rows, masked, strict=True):
            layer = around.get(id(owners[id(v)]), owners[id(v)])
            inputs = counted.inputs.get(id(layer), [])
            row["runs_as"] = runs_as(layer, v, inputs, counted.batch, batch)
    total = _total(model, masked, rows, counted)
    if has_sparse_layers(model) and (table := measured()) is not None:
        total["break_even_densities"] = table
    rates = exploration_rates(model)
    if (optimizer := sparse_momentum_of(model)) is not None:
        total["budget"] = optimizer.budget
        total["has_masks"] = bool(optimizer.built and not optimizer.awaiting)
    if rates is not None:
        for row, (v, _) in zip(rows, masked, strict=True):
            row["exploration_rate"] = rates.of_weights.get(id(v))
        total["exploration_rate"] = rates.of_all
    return {"layers": rows, "total": total}


def _describe_weight(
    variable: Any, mask: np.ndarray, layer: keras.layers.Layer, counted: MultiplyAdds
) -> dict[str, Any]:
    active, dense = int(np.count_nonzero(mask)), counted.of_weights[id(variable)]
    row = {
        "weight": variable.path,
        "shape": list(mask.shape),
        "weights": mask.size,
        "active": active,
        "density": active / mask.size,
        "multiply_adds_dense": dense,
        "multiply_adds_sparse": None if dense is None else dense * active // mask.size,
        "dead_inputs": dead_channels(mask, input_axes(layer, mask.ndim)),
        "dead_outputs": dead_channels(mask, output_axes(layer, mask.ndim)),
    }
    return row if variable.trainable else row | {"frozen": True}


def _total(
    model: keras.Model,
    masked: Sequence[Masked],
    rows: Sequence[dict[str, Any]],
    counted: MultiplyAdds,
) -> dict[str, Any]:
    described = {id(v) for v, _ in masked}
    others = [number for key, number in counted.of_weights.items() if key not in described]
    other = _sum([*others, counted.other])
    total: dict[str, Any] = {
        key: _sum([row[key] for row in rows]) for key in COLUMNS.values() if key != "density"
    }
    total["multiply_adds_density"] = _share(total)
    for key in ("multiply_adds_dense", "multiply_adds_sparse"):
        total[key] = _sum([total[key], other])
    total["density"] = total["active"] / total["weights"] if rows else 1.0
    of_rows = _elements([v for v, _ in masked])  # of a packed kernel, fewer than its weights
    total["other_weights"] = _elements(model.weights) - of_rows
    total["other_multiply_adds"] = other
    if counted.why_unknown is not None:
        total["why_unknown"] = counted.why_unknown
    return total


def _elements(variables: Sequence[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _share(total: dict[str, Any]) -> float | None:
    """Sparse / dense multiply-adds of the rows; None where one is unknown, or all are 0."""
    sparse, dense = total["multiply_adds_sparse"], total["multiply_adds_dense"]
    return sparse / dense if dense and sparse is not None else None


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
