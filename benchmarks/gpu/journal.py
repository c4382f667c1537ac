"""Keeps a run alive when a kernel takes down the process, or the GPU's context.

A stage is a process of its own that records what it begins and what came of it. If it dies or
hangs, this is recorded for the step it began last. The next process continues after that step and
leaves out what is broken.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LONGEST = 90.0  # seconds without a word: cuDNN may search for a minute
POLL = 0.25
MOST_STARTS = 8
CONTEXT_IS_LOST = "the process ended with 3"  # it has written down why


class Journal:
    """Lines of JSON: {"key": ..., "status": ..., "culprit": ..., ...}.

    The status is "begun", "right", "wrong", "failed", "left out" or "out of time".
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: dict[str, dict[str, Any]] = {}  # the last of each key
        self.broken: dict[str, str] = {}  # culprit -> why, of what took a process with it
        if path.exists():
            for line in path.read_text().splitlines():
                note = json.loads(line)
                self._keep(note)

    def begin(self, key: str, culprit: str = "") -> None:
        """``culprit``: whose fault it is if nothing follows."""
        self.note(key, "begun", culprit=culprit)

    def note(self, key: str, status: str, **facts: Any) -> None:
        note = {"key": key, "status": status, **facts}
        self._keep(note)
        with self.path.open("a") as file:
            file.write(json.dumps(note) + "\n")

    def _keep(self, note: dict[str, Any]) -> None:
        """Behind all others."""
        self.notes.pop(note["key"], None)
        self.notes[note["key"]] = note
        if note.get("fatal"):
            self.broken[note["culprit"]] = note["why"]

    def is_done(self, key: str) -> bool:
        return self.notes.get(key, {"status": "begun"})["status"] != "begun"

    def count(self, status: str) -> int:
        return sum(note["status"] == status for note in self.notes.values())

    def last_begun(self) -> dict[str, Any] | None:
        """What ran when the process ended; what it is a part of is begun again."""
        begun = [note for note in self.notes.values() if note["status"] == "begun"]
        return begun[-1] if begun else None

    def of(self, prefix: str) -> list[dict[str, Any]]:
        """The notes whose keys begin so, in order."""
        return [
            note
            for note in self.notes.values()
            if note["key"].startswith(prefix) and note["status"] != "begun"
        ]


def supervise(command: Sequence[str], path: Path, deadline: float) -> str | None:
    """Runs a stage to its end, in several processes if one dies; why it did not end, or None."""
    for _ in range(MOST_STARTS):
        why = _run(command, path, deadline)
        if why is None:
            return None
        if why != CONTEXT_IS_LOST:
            journal = Journal(path)
            note = journal.last_begun()
            if note is None:
                return why
            journal.note(note["key"], "failed", why=why, culprit=note["culprit"], fatal=True)
            print(f"  {note['culprit'] or note['key']}: failed: {why}", flush=True)
        if time.time() > deadline:
            return "out of time"
    return f"gave up after {MOST_STARTS} processes"


def _run(command: Sequence[str], path: Path, deadline: float) -> str | None:
    """None, or how the process ended."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen([sys.executable, *command], env=environment)
    last, size = time.time(), -1
    while process.poll() is None:
        time.sleep(POLL)
        now = path.stat().st_size if path.exists() else 0
        if now != size:
            last, size = time.time(), now
        if time.time() > min(last, deadline) + LONGEST:
            process.kill()
            process.wait()
            return f"no answer for {LONGEST:.0f} s"
    return None if process.returncode == 0 else f"the process ended with {process.returncode}"
