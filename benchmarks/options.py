"""Reads the command line of a benchmark; its docstring is the help."""

import argparse
from pathlib import Path

from benchmarks import report


def parser(description: str | None, output: str | None = None) -> argparse.ArgumentParser:
    """A parser that keeps the lines of the description.

    Args:
        description: of the benchmark.
        output: the file of results that ``--output`` replaces; None: there is no such option.
    """
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form)
    if output is not None:
        default = report.RESULTS / output
        parser.add_argument("--output", type=Path, default=default, help="the file of results")
    return parser


def parser_of_cells(description: str | None, name: str) -> argparse.ArgumentParser:
    """A parser of a benchmark that keeps its cells, and goes on after the last one."""
    form = parser(description, f"{name}.md")
    cells = report.RESULTS / f"{name}.jsonl"
    form.add_argument("--cells", type=Path, default=cells, help="cells, one a line")
    return form
