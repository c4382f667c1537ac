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
    name = "compute-sanitizer"
    program = shutil.which(name) or shutil.which(f"/usr/local/cuda/bin/{name}")
    if program is None:
        return False, f"{tool}: compute-sanitizer is not there"
    # Without a cache, each tensor is an allocation: its end is where the tool sees it.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    options = ("--tool", tool, "--error-exitcode", str(FOUND), "--print-limit", "5")
    command = [program, *options, sys.executable, *worker]
    log = journal.with_suffix(".log")
    try:
        with log.open("w") as file:
            settings = {"env": environment, "stdout": file, "stderr": subprocess.STDOUT}
            limit = max(seconds, 1)
            code = subprocess.run(command, **settings, check=False, timeout=limit).returncode
    except subprocess.TimeoutExpired:
        return False, f"{tool}: not done after {seconds:.0f} s, {_checked(journal)}"
    text = log.read_text(errors="replace")
    summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", text)
    if code or not summary:
        print("".join(f"    {line}\n" for line in text.splitlines()[:MOST_LINES]), flush=True)
    said = summary[-1] if summary else f"no summary, ended with {code}"
    notes = Journal(journal)
    found = summary and re.search(r"[1-9]", summary[-1])
    bad = bool(notes.count("wrong") + notes.count("failed") or found)
    return bad, f"{tool}: {said}, {_checked(journal)}"


def _checked(journal: Path) -> str:
    notes = Journal(journal)
    return (
        f"{notes.count('right')} checks right, {notes.count('wrong') + notes.count('failed')} wrong"
    )
