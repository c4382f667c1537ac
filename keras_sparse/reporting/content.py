"""What a report shows: figures, masks and values of each weight, from a model or from a file."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import to_float32, to_numpy
from keras_sparse.compute.kernel_axes import input_axes, output_axes, owners_of_weights
from keras_sparse.conversion.progress import progress
from keras_sparse.models.file_report import file_report
from keras_sparse.models.layer_speed import LayerSpeed
from keras_sparse.models.masked_weights import masked_weights
from keras_sparse.models.plots import Recorded
from keras_sparse.models.summary import summary, timed_step
from keras_sparse.models.summary_figures import Masked
from keras_sparse.models.weight_files import arrays_in
from keras_sparse.reporting.histogram import Histogram, histogram_of
from keras_sparse.reporting.measured import layer_times
from keras_sparse.rules.channel_map import ChannelMap, as_taps, channel_map, tap_shares
from keras_sparse.rules.coded_array import pieces
from keras_sparse.rules.found_structure import found_structure
from keras_sparse.training.find_optimizer import sparse_momentum_of

WITHOUT_MODEL = (
    "The file has weights and no model, so multiply-adds and what runs are unknown. Nonzero "
    "weights count as active, in all arrays of two or more axes."
)
UNKNOWN = dict.fromkeys(("multiply_adds_dense", "multiply_adds_sparse"))


@dataclasses.dataclass(frozen=True)
class Weight:
    """One masked weight.

    Attributes:
        name: its path without the name of the model, which a saved path may lack.
        row: its figures, those of ``summary``.
        structure: what its mask consists of.
        channels: its mask as a picture.
        taps: float array, the share of active weights by tap; None without taps.
        histogram: of its active values; None where bytes hold several weights.
        stored: its bytes in a file of ``save_compressed``; None if unknown.
    """

    name: str
    row: dict[str, Any]
    structure: str
    channels: ChannelMap
    taps: np.ndarray | None
    histogram: Histogram | None
    stored: int | None = None


@dataclasses.dataclass(frozen=True)
class Content:
    """All that a report shows.

    Attributes:
        name: of the model or the file.
        weights: in the order of ``summary``.
        total: of all weights, as in ``summary``; None if there is only a history.
        sizes: ``{what: bytes}``.
        recorded: the densities over a training, or None.
        batch: the batch that ``row["runs_as"]`` and the measurements hold for.
        layers: the time of each sparse layer alone, if it was measured.
        notes: sentences about what the report lacks.
    """

    name: str
    weights: Sequence[Weight] = ()
    total: dict[str, Any] | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    recorded: Recorded | None = None
    batch: int | None = None
    layers: Sequence[LayerSpeed] = ()
    notes: Sequence[str] = ()


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
            yield _weight(name, row, mask, axes, values, _bytes(np.where(mask, stored, 0)))
        else:  # of a quantized layer
            yield _weight(name, row, mask, axes, None, _bytes(to_numpy(variable)))


def _names(model: keras.Model) -> dict[int, str]:
    """``{id of a weight: its name in the history of UpdateMasks}``."""
    optimizer = sparse_momentum_of(model)
    weights = [] if optimizer is None or not optimizer.built else optimizer.masked_weights
    return {id(one.variable): one.name for one in weights}


def _weight(
    name: str,
    row: dict[str, Any],
    mask: np.ndarray,
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    values: np.ndarray | None,
    stored: int | None = None,
) -> Weight:
    taps = tap_shares(mask, *axes)
    return Weight(
        name,
        row,
        structure=found_structure(as_taps(mask, *axes)),
        channels=channel_map(mask, *axes),
        taps=taps if taps.size > 1 else None,
        histogram=None if values is None else histogram_of(values[mask]),
        stored=stored,
    )


def _bytes(array: np.ndarray) -> int:
    return sum(map(len, pieces(array)))


def _sizes(
    model: keras.Model, masked: Sequence[Masked], weights: Sequence[Weight]
) -> dict[str, int]:
    known = {id(variable) for variable, _ in masked}
    arrays = {id(variable): to_numpy(variable) for variable in model.weights}
    others = sum(_bytes(array) for key, array in arrays.items() if key not in known)
    return {
        "in memory, zeros included": sum(array.nbytes for array in arrays.values()),
        "compressed": others + sum(weight.stored or 0 for weight in weights),
    }


def of_file(path: Path) -> Content:
    """The content for a file of weights whose model is unknown.

    Raises:
        ValueError: as ``file_report``.
    """
    found = file_report(path)
    weights = [
        _weight(array.name, _row_of_file(row), array.values != 0, ((-2,), (-1,)), array.values)
        for row, array in zip(found["weights"], arrays_in(path), strict=True)
        if array.values.ndim > 1
    ]
    total = found["total"]
    return Content(
        name=path.name,
        weights=weights,
        total=_row_of_file(total) | {"other_weights": _others(found["weights"])},
        sizes={"of the file": found["bytes"], "after zip": found["bytes_zipped"]},
        notes=[WITHOUT_MODEL],
    )


def _row_of_file(row: dict[str, Any]) -> dict[str, Any]:
    """The row of ``file_report`` with the names of ``summary``."""
    named = {"weight": row["name"], "shape": row["shape"]} if "name" in row else {}
    same = {key: row[key] for key in ("density", "dead_inputs", "dead_outputs")}
    return {**named, "weights": row["size"], "active": row["nonzero"], **same, **UNKNOWN}


def _others(rows: Sequence[dict[str, Any]]) -> int:
    return sum(math.prod(row["shape"]) for row in rows if len(row["shape"]) < 2)
