"""Reads the command line of a benchmark; its docstring is the help."""

import argparse
from pathlib import Path

from benchmarks import report
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.structure import Structure, Weights


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that keeps the lines of the description."""
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=form)


def of_cells(description: str | None, name: str) -> argparse.Namespace:
    """The arguments of a benchmark that keeps its cells, and goes on after the last one."""
    form = parser(description)
    cells, output = report.RESULTS / f"{name}.jsonl", report.RESULTS / f"{name}.md"
    form.add_argument("--cells", type=Path, default=cells, help="cells, one a line")
    form.add_argument("--output", type=Path, default=output)
    return form.parse_args()


def structure(text: str) -> Structure:
    """``weights``, ``4x4`` or ``4x4-per-tap``: input x output channels of a block."""
    if text == "weights":
        return Weights()
    size, _, per_tap = text.partition("-")
    if per_tap not in ("", "per-tap"):
        raise ValueError(text)
    in_, out = map(int, size.split("x"))
    return Blocks(in_, out, per_tap=bool(per_tap))


def name_of(structure: Structure) -> str:
    """The text that `structure` reads."""
    if not isinstance(structure, Blocks):
        return "weights"
    return f"{structure.in_}x{structure.out}" + "-per-tap" * structure.per_tap
