"""``compare`` prints how two files of models differ: densities, places of nonzeros, values."""

import argparse
import json
import math
import sys
from typing import Any

from rich.table import Table

from keras_sparse.commands.inspect import existing
from keras_sparse.commands.output import console
from keras_sparse.models.file_report import difference


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns its exit code: 0 the weights are equal, 1 they differ.

    Raises:
        ValueError: a file is missing, damaged, or of another kind.
    """
    rows = difference(existing(arguments.file), existing(arguments.other))
    if arguments.json:
        sys.stdout.write(json.dumps(list(map(_in_json, rows)), indent=1) + "\n")
    else:
        console().print(_table(rows))
    return 0 if all(_is_equal(row, arguments.tolerance) for row in rows) else 1


def _in_json(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity: the difference is a word then."""
    is_infinite = row["largest_difference"] == math.inf
    return {**row, "largest_difference": "infinite"} if is_infinite else row


def _is_equal(row: dict[str, Any], tolerance: float) -> bool:
    apart = row["largest_difference"]
    return apart is not None and row["same_places"] == 1 and apart <= tolerance


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table()
    headers = ("weight", "density", "of the other", "same places", "largest difference")
    for header in headers:
        is_text = header == "weight"
        table.add_column(header, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        densities = ["missing" if each is None else f"{each:.4f}" for each in row["density"]]
        apart = row["largest_difference"]
        figures = ["", ""] if apart is None else [f"{row['same_places']:.2%}", f"{apart:.3g}"]
        table.add_row(row["name"], *densities, *figures)
    return table
