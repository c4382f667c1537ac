"""A benchmark's records: one JSON line for each finished run, which is then not repeated."""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.machine import same_names

Record = dict[str, Any]


def read(path: Path) -> list[Record]:
    """All finished runs, in which a machine has one name; none where there is no file yet."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    measured = [record["measured"] for record in records if "measured" in record]
    names = same_names(facts["machine"] for facts in measured)
    for facts in measured:
        facts["machine"] = names[facts["machine"]]
    return records


def finished(path: Path) -> list[Record]:
    """All finished runs; ends the program if there are none."""
    records = read(path)
    if not records:
        raise SystemExit(f"There are no finished runs in {path}.")
    return records


def circumstances(finished: Sequence[Record]) -> dict[str, str]:
    """When, where and with what all these were measured; what most of them have comes first.

    >>> zen, amx = ({"measured": {"date": date, "machine": name}} for date, name in
    ...     (("2026-11-02", "AMD EPYC"), ("2026-11-01", "Intel Xeon")))
    >>> circumstances([amx, zen, zen])
    {'date': '2026-11-01 to 2026-11-02', 'machine': 'AMD EPYC; Intel Xeon'}
    """
    measured = [record["measured"] for record in finished]
    found = {}
    for key in measured[0]:
        counts = Counter(facts[key] for facts in measured if key in facts)
        found[key] = "; ".join(value for value, _ in counts.most_common())
        if key == "date":
            found[key] = " to ".join(dict.fromkeys((min(counts), max(counts))))
    return found


def add(path: Path, result: Record) -> None:
    """Adds a line, with date, machine and versions if it lacks them.

    Several programs may add at once.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = result.get("measured") or report.circumstances()
    line = json.dumps({**result, "measured": measured}) + "\n"
    with path.open("ab", buffering=0) as file:  # one write: lines of two programs do not mix
        file.write(line.encode())


def run_of(kind: type[Any], record: Record) -> Any:
    """The run that a record is of; ``kind`` is its dataclass.

    A record that was made before there was a field has the field's default.
    """
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: record[name] for name in names if name in record})


def missing(runs: Sequence[Any], path: Path) -> list[Any]:
    """Those of the runs that have no record."""
    done = {run_of(type(runs[0]), record) for record in read(path)} if runs else set()
    return [run for run in runs if run not in done]


def complete(path: Path, runs: Iterable[Any], train: Callable[[Any], Record]) -> list[Record]:
    """Makes the runs that have no record, one after the other; all records.

    Args:
        path: of the records.
        runs: dataclasses, whose fields are in the record.
        train: makes a run; what it returns is added to the record and printed.
    """
    for run in missing(list(runs), path):
        result = train(run)
        add(path, {**dataclasses.asdict(run), **result})
        print(run, {key: value for key, value in result.items() if key != "densities"}, flush=True)
    return finished(path)
