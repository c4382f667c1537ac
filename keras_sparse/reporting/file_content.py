"""What a report of a file shows, whose model is unknown: masks and values of its weights."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras_sparse.models.file_report import file_report
from keras_sparse.models.weight_files import arrays_in
from keras_sparse.reporting.content import Content, weight_of

WITHOUT_MODEL = (
    "The file has weights and no model, so multiply-adds and what runs are unknown. Nonzero "
    "weights count as active, in all arrays of two or more axes."
)
UNKNOWN = dict.fromkeys(("multiply_adds_dense", "multiply_adds_sparse"))


def of_file(path: Path) -> Content:
    """The content for a file of weights whose model is unknown.

    Raises:
        ValueError: as ``file_report``.
    """
    found = file_report(path)
    weights = [
        weight_of(array.name, _row_of_file(row), array.values != 0, ((-2,), (-1,)), array.values)
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
