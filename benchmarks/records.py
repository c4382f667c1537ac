"""A benchmark's records: one JSON line for each finished run, which is then not repeated."""

import json
from pathlib import Path
from typing import Any

from benchmarks import report


def read(path: Path) -> list[dict[str, Any]]:
    """All finished runs; none where there is no file yet."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add(path: Path, result: dict[str, Any]) -> None:
    """Adds a line, with date, machine and versions. Several programs may add at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({**result, "measured": report.circumstances()}) + "\n"
    with path.open("ab", buffering=0) as file:  # one write: lines of two programs do not mix
        file.write(line.encode())
