"""Reads the command line of a benchmark; its docstring is the help."""

import argparse
from pathlib import Path

from benchmarks import report


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that keeps the lines of the description."""
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=form)


def of_cells(description: str | None, name: str) -> argparse.Namespace:
    """The arguments of a benchmark that keeps its cells, and goes on after the last one."""
    return parser_of_cells(description, name).parse_args()


def parser_of_cells(description: str | None, name: str) -> argparse.ArgumentParser:
    """A parser of these arguments, to which others can be added."""
    form = parser(description)
    cells, output = report.RESULTS / f"{name}.jsonl", report.RESULTS / f"{name}.md"
    form.add_argument("--cells", type=Path, default=cells, help="cells, one a line")
    form.add_argument("--output", type=Path, default=output)
    return form
