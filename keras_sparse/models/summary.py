"""``summary(model)``: the sparsity of each layer and what it saves, as a table, dict or JSON."""

import json
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import check_model
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
from keras_sparse.models.step_speed import step_speed
from keras_sparse.models.summary_table import COLUMNS, print_table
from keras_sparse.rules.whole_numbers import is_positive_integer
from keras_sparse.tracing.model_inputs import symbolic_inputs
from keras_sparse.tracing.multiply_adds import MultiplyAdds, count_multiply_adds
from keras_sparse.training.find_optimizer import sparse_momentum_of

Masked = tuple[Any, np.ndarray]


def summary(
    model: keras.Model,
    output: str = "table",
    input_shape: Any = None,
    batch: int | None = None,
    time_step: bool = False,
) -> Any:
    """Shape, density, multiply-adds and dead channels of each masked weight, and the totals.

    Without a SparseMomentum, the masks are those of sparse layers and of nonzero weights. Kernels
    of frozen layers have rows, too; kernels that ``dense=`` excludes have none. The model stays
    unchanged.

    Args:
        model: a built Keras model.
        output: ``"table"`` prints and returns None; ``"dict"`` returns a dict, ``"json"`` the same
            as a string.
        input_shape: shape of the inputs, with or without the batch, e.g. (None, 32, 32, 3); a list
            or dict for several inputs. Only for models that do not know theirs, as for sequences
            of any length.
        batch: number of examples, for ``"runs_as"``. None: what runs depends on the batch and
            includes its condition, ``"custom op from batch 12"``.
        time_step: True: times a training step at this batch, on copies of the model and random
            data, against Keras' own layers. The result holds for this machine, this batch and the
            present masks. It takes seconds to minutes.

    Returns:
        ``{"layers": [row, ...], "total": {...}}``. A row is ``{"weight": path, "shape": [...],
        "weights": int, "active": int, "density": float, "multiply_adds_dense": int | None,
        "multiply_adds_sparse": int | None, "dead_inputs": int, "dead_outputs": int}``. None means
        unknown, and the total's ``"why_unknown"`` has the reason.

        The total's ``density`` is active / all weights of the rows, its ``multiply_adds_density``
        the same share of their multiply-adds; ``other_weights`` counts the rest. With a
        SparseMomentum, its ``budget`` is the one of the two that its density is asked for. The
        total's multiply-adds are those of the whole model. They include ``other_multiply_adds``:
        those of weights without a row, and of no weight (attention).

        With ``time_step``, the total has ``step_seconds_dense``. ``step_speed_up_closed`` and
        ``step_speed_up_open`` are the dense seconds over those of sparse layers, with the growth
        window closed and open.

        With a SparseMomentum, rows and total have ``"exploration_rate"``: weights that were ever
        active / all weights. It is None for kernels that the optimizer does not mask. The table
        shows it if it exceeds the density.

        A row of a frozen layer has ``"frozen": True``. With sparse layers, each row has
        ``"runs_as"``: ``"custom op"``, or ``"stock: "`` and the reason; for both, where a
        prediction runs another than a training: ``"training: ...; prediction: ..."``. The total's
        ``"break_even_densities"`` names the table of break-even densities, if custom ops can run.

    Raises:
        ValueError: the model has no weights, ``output`` is unknown, ``input_shape`` or ``batch``
            does not fit, or the step cannot be timed (the message has the reason).
        TypeError: no Keras model.

    >>> dense = keras.layers.Dense(2)
    >>> model = keras.Sequential([keras.Input((4,)), dense])
    >>> summary(model, "dict")["total"]["multiply_adds_dense"]
    8
    """
    check_model(model)
    if output not in ("table", "dict", "json"):
        raise ValueError(f'`output` must be "table", "dict" or "json". Received: output={output!r}')
    if batch is not None and not is_positive_integer(batch):
        raise ValueError(f"`batch` must be a positive integer. Received: batch={batch!r}")
    if not model.weights:
        raise ValueError(
            "`model` must have weights: build it, or call it on a batch of data. "
            f"Received: model={model.name}"
        )
    if time_step and batch is None:
        raise ValueError("`batch` must be set if `time_step` is. Received: batch=None")
    described = _describe(model, input_shape, batch)
    if time_step:
        described["total"] |= timed_step(model, input_shape, batch)
    if output == "table":
        print_table(model.name, described)
        return None
    return described if output == "dict" else json.dumps(described, indent=2)


def _describe(model: keras.Model, input_shape: Any, batch: int | None) -> dict[str, Any]:
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
    if rates is not None:
        for row, (v, _) in zip(rows, masked, strict=True):
            row["exploration_rate"] = rates.of_weights.get(id(v))
        total["exploration_rate"] = rates.of_all
    return {"layers": rows, "total": total}


def timed_step(
    model: keras.Model,
    input_shape: Any,
    batch: int | None,
    argument: str = "time_step",
    with_parts: bool = False,
) -> dict[str, Any]:
    """What ``summary`` adds to the total with ``time_step``.

    Args:
        model: built.
        input_shape: as in ``summary``.
        batch: number of examples.
        argument: the one that asked for it, for messages.
        with_parts: True: adds ``"step_parts"``, a StepParts.

    Raises:
        ValueError: the step cannot be timed.
    """
    inputs, why = symbolic_inputs(model, input_shape, batch)
    if why is not None:
        raise ValueError(
            f"`{argument}` needs inputs of known shapes, but {why}. Received: {input_shape=}"
        )
    speed = step_speed(model, inputs, argument, with_parts)
    return {
        "step_seconds_dense": speed.dense_seconds,
        "step_speed_up_closed": speed.closed,
        "step_speed_up_open": speed.open,
        **({"step_parts": speed.parts} if with_parts else {}),
    }


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
    sizes = (math.prod(v.shape) for v, _ in masked)  # of a packed kernel, fewer than its weights
    total["other_weights"] = model.count_params() - sum(sizes)
    total["other_multiply_adds"] = other
    if counted.why_unknown is not None:
        total["why_unknown"] = counted.why_unknown
    return total


def _share(total: dict[str, Any]) -> float | None:
    """Sparse / dense multiply-adds of the rows; None where one is unknown, or all are 0."""
    sparse, dense = total["multiply_adds_sparse"], total["multiply_adds_dense"]
    return sparse / dense if dense and sparse is not None else None


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None
