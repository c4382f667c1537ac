"""A benchmark's records: one JSON line for each finished run, which is then not repeated."""

import json
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.machine import same_names

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """All finished runs; none where there is no file yet. One machine has one name in all of them."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    measured = [record["measured"] for record in records if "measured" in record]
    names = same_names(facts["machine"] for facts in measured)
    for facts in measured:
        facts["machine"] = names[facts["machine"]]
    return records


def add(path: Path, result: Record) -> None:
    """Adds a line, with date, machine and versions. Several programs may add at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps({**result, "measured": report.circumstances()}) + "\n"
    with path.open("ab", buffering=0) as file:  # one write: lines of two programs do not mix
        file.write(line.encode())
