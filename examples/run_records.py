"""The records of finished trainings, a JSON line each, and their table."""

import json
import statistics
from pathlib import Path
from typing import Any

from rich.table import Table

Record = dict[str, Any]


def read(file: Path) -> list[Record]:
    """The lines of a file of records; none if there is no file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def add(file: Path, record: Record) -> None:
    """One more line, in one write: lines of two programs do not mix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab", buffering=0) as opened:
        opened.write((json.dumps(record) + "\n").encode())


def table(records: list[Record]) -> Table:
    """Mean and standard error over the seeds, a row for each method and density."""
    shown = Table(title="Mean ± standard error over seeds")
    shown.add_column("method")
    columns = ("density", "test error %", "validation error %", "seeds", "seconds a run")
    for column in columns:
        shown.add_column(column, justify="right")
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in records:
        groups.setdefault((record["method"], record["density"]), []).append(record)
    for (method, _), group in groups.items():
        figures = {name: [one[name] for one in group] for name in group[0]}
        errors = [mean_and_error(figures[name]) for name in ("test_error", "validation_error")]
        density = f"{statistics.mean(figures['final_density']):.4f}"
        seconds = f"{statistics.mean(figures['seconds']):.0f}"
        shown.add_row(method, density, *errors, str(len(group)), seconds)
    return shown


def mean_and_error(values: list[float | None]) -> str:
    """Of numbers, e.g. "1.50 ± 0.02"; of one number, without an error; "" where there are none."""
    numbers = [value for value in values if value is not None]
    if not numbers:
        return ""
    mean = f"{statistics.mean(numbers):.2f}"
    if len(numbers) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(numbers) / len(numbers) ** 0.5:.2f}"
