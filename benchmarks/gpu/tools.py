"""Runs a few small checks under the tools of compute-sanitizer, if it supports the GPU."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.journal import Journal

TOOLS = ("memcheck", "racecheck")
FOUND = 9  # the exit status that we ask for
MOST_LINES = 15


def run(tool: str, worker: Sequence[str], journal: Path, seconds: float) -> tuple[bool, str]:
    """(Did it find something?, a sentence). A tool that does not run finds nothing."""
    program = shutil.which("compute-sanitizer") or shutil.which(
        "/usr/local/cuda/bin/compute-sanitizer"
    )
    if program is None:
        return False, f"{tool}: compute-sanitizer is not there"
    # Without a cache, each tensor is an allocation: its end is where the tool sees it.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    command = [
        program,
        "--tool",
        tool,
        "--error-exitcode",
        str(FOUND),
        "--print-limit",
        "5",
        sys.executable,
        *worker,
    ]
    log = journal.with_suffix(".log")
    try:
        with log.open("w") as file:
            code = subprocess.run(
                command,
                env=environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=max(seconds, 1),
            ).returncode
    except subprocess.TimeoutExpired:
        return False, f"{tool}: not done after {seconds:.0f} s, {_checked(journal)}"
    text = log.read_text(errors="replace")
    summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", text)
    if code or not summary:
        print("".join(f"    {line}\n" for line in text.splitlines()[:MOST_LINES]), flush=True)
    said = summary[-1] if summary else f"no summary, ended with {code}"
    notes = Journal(journal)
    bad = bool(
        notes.count("wrong") + notes.count("failed")
        or (summary and re.search(r"[1-9]", summary[-1]))
    )
    return (bad, f"{tool}: {said}, {_checked(journal)}")


def _checked(journal: Path) -> str:
    notes = Journal(journal)
    return (
        f"{notes.count('right')} checks right, {notes.count('wrong') + notes.count('failed')} wrong"
    )
