"""``inspect`` prints what is in a file of a model: densities, structures, dead channels, sizes."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from rich.table import Table

from keras_sparse.commands.output import console
from keras_sparse.models.file_report import file_report


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns its exit code.

    Raises:
        ValueError: the file is missing, damaged, or of another kind.
    """
    report = file_report(existing(arguments.file))
    if arguments.json:
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
        return 0
    printed = console()
    printed.print(_table(report))
    printed.print(
        f"{report['bytes']:,} bytes; {report['bytes_zipped']:,} after zip. "
        f"Density of weights with two or more axes: {report['total']['density']:.4f}",
        highlight=False,
        soft_wrap=True,
    )
    return 0


def existing(name: str) -> Path:
    """The path of a file or folder; ValueError unless it exists."""
    path = Path(name)
    if not path.exists():
        raise ValueError(f"The file must exist. Received: {name}")
    return path


def _table(report: dict[str, Any]) -> Table:
    table = Table(title=report["file"])
    for header in ("weight", "shape", "dtype", "density", "structure", "dead in", "dead out"):
        is_text = header in ("weight", "shape", "dtype", "structure")
        table.add_column(header, justify="left" if is_text else "right", overflow="fold")
    for row in report["weights"]:
        dead = [str(row.get(key, "")) for key in ("dead_inputs", "dead_outputs")]
        shape = "x".join(map(str, row["shape"]))
        density = f"{row['density']:.4f}"
        table.add_row(row["name"], shape, row["dtype"], density, row["structure"], *dead)
    return table
