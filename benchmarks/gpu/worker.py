"""One stage, in a process of its own; run.py starts it."""

import argparse
import importlib
import os
import sys
from pathlib import Path

STAGES = ("facts", "checks", "tools", "ceilings", "timings", "shares")


def main() -> None:
    """Does what is not done yet."""
    arguments = _arguments()
    if arguments.rehearse:
        from benchmarks.gpu import rehearsal
    from benchmarks.gpu.attempts import Work
    from benchmarks.gpu.journal import Journal
    from benchmarks.gpu.library import Library
    from benchmarks.gpu.machine import Card, Rehearsal

    kind = rehearsal.InterpretedLibrary if arguments.rehearse else Library
    machine = Rehearsal() if arguments.rehearse else Card()
    journal = Journal(arguments.journal)
    work = Work(kind(arguments.library), machine, journal, arguments.deadline, arguments.rehearse)
    if arguments.stage == "facts":
        work.journal.note("facts", "right", **machine.facts())
    elif arguments.stage == "tools":
        importlib.import_module("benchmarks.gpu.checks").run(work, for_tools=True)
        work.machine.synchronize()
        os._exit(0)  # tools look at what the GPU did, not at how Python ends
    else:
        importlib.import_module(f"benchmarks.gpu.{arguments.stage}").run(work)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--library", type=Path, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--deadline", type=float, required=True)
    parser.add_argument("--rehearse", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
