"""Checks and times all GPU kernels against cuDNN, in one call.

    # eight minutes, on a machine with a GPU
    python -m benchmarks.gpu.run --library libkeras_sparse_gpu.so --output results
    # without a GPU: everything runs, and no number means anything
    python -m benchmarks.gpu.run --rehearse --seconds 120

Needs PyTorch with CUDA; without --library also g++, nvcc and Triton. README.md beside this file
says what is measured, and how.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import options, report
from benchmarks.gpu import break_even, tables, tools
from benchmarks.gpu.journal import Journal, supervise
from benchmarks.gpu.results import Results

# Until what share of the time each stage may run; what one leaves goes to the next.
STAGES = {"checks": 0.25, "ceilings": 0.3, "timings": 0.82, "shares": 0.88}
TOOLS_UNTIL, LEAST_SECONDS = 1.0, 10
REHEARSAL = "**A REHEARSAL on a CPU: everything ran, and no number here means anything.**\n\n"


class Run:
    """One run: its files, and what is to be remarked."""

    def __init__(self, arguments: argparse.Namespace, library: Path) -> None:
        self.arguments, self.output, self.begin = arguments, arguments.output, time.time()
        self.date = datetime.date.today().isoformat()
        self.journal = self.output / "gpu.jsonl"
        self.journal.unlink(missing_ok=True)
        self.library = library
        self.remarks: list[str] = []
        self.failures: list[str] = []

    def worker(self, stage: str, deadline: float, journal: Path | None = None) -> list[str]:
        """The command."""
        return [
            *("-m", "benchmarks.gpu.worker", stage, "--deadline", str(deadline)),
            *("--library", str(self.library), "--journal", str(journal or self.journal)),
            *(["--rehearse"] if self.arguments.rehearse else []),
        ]

    def stage(self, name: str, until: float) -> None:
        """To its end or until that share of the time; says what went wrong."""
        deadline = self.begin + until * self.arguments.seconds
        self.say(name)
        why = supervise(self.worker(name, deadline), self.journal, deadline)
        if why:
            self.failures.append(f"{name}: {why}")
        self.write()

    def tools(self) -> None:
        """Last: what they do to a driver must not disturb what is timed."""
        for tool in tools.TOOLS:
            self.say(tool)
            left = self.begin + TOOLS_UNTIL * self.arguments.seconds - time.time()
            seconds = left / (2 if tool == tools.TOOLS[0] else 1)
            if seconds < LEAST_SECONDS:
                self.remarks.append(f"{tool}: out of time")
                continue
            journal = self.output / f"{tool}.jsonl"
            journal.unlink(missing_ok=True)
            worker = self.worker("tools", time.time() + seconds, journal)
            bad, said = tools.run(tool, worker, journal, seconds)
            (self.failures if bad else self.remarks).append(said)
            print(f"  {said}", flush=True)

    def say(self, stage: str) -> None:
        marked = "rehearsal of " if self.arguments.rehearse else ""
        print(f"[{time.time() - self.begin:4.0f} s] {marked}{stage}", flush=True)

    def results(self) -> Results:
        return Results(Journal(self.journal), self.arguments.rehearse)

    def text(self, each_product: bool = True) -> tuple[str, str]:
        """(Tables of every layer, the short ones)."""
        results = self.results()
        remarks = [*(f"FAILED: {failure}" for failure in self.failures), *self.remarks]
        if unchecked := results.unchecked():
            remarks.append(f"NOT CHECKED: {', '.join(unchecked)}")
        if late := sum(note["status"] == "out of time" for note in results.journal.of("time/")):
            remarks.append(f"{late} groups of timings were not measured: out of time")
        marked = REHEARSAL if self.arguments.rehearse else ""
        command = report.as_typed("python -m benchmarks.gpu.run")
        facts = {"date": self.date, **results.facts}
        head = report.header("Products on a GPU against cuDNN", command, facts)
        everything = f"{tables.MEANING}\n{tables.all_tables(results, each_product)}"
        return head + marked + everything, marked + tables.summary(results, remarks) + marked

    def write(self) -> None:
        """Writes gpu.json, gpu.md and gpu_break_even.json; after every stage, as one may hang."""
        results, (everything, summary) = self.results(), self.text()
        notes = [
            note
            for note in results.journal.notes.values()
            if not note["key"].startswith(("check/", "run/")) or note["status"] != "right"
        ]
        facts = {"date": self.date, "rehearsal": self.arguments.rehearse, **results.facts}
        record = {
            **facts,
            "rates": results.rates,
            "checks": results.check_counts(),
            "remarks": self.remarks,
            "failures": self.failures,
            "notes": notes,
        }
        (self.output / "gpu.json").write_text(json.dumps(record, indent=1) + "\n")
        (self.output / "gpu.md").write_text(f"{everything}\n{summary}")
        limits = break_even.record(results, self.date)
        limits |= {"rehearsal": True} if self.arguments.rehearse else {}
        (self.output / "gpu_break_even.json").write_text(json.dumps(limits, indent=1) + "\n")


def main() -> int:
    """0 if everything was right."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    run = Run(arguments, _library(arguments))
    if supervise(run.worker("facts", time.time() + 60), run.journal, time.time() + 60):
        sys.exit(
            "It cannot run here, see above: a GPU, PyTorch with CUDA and a library that loads are "
            "needed. --rehearse runs without a GPU."
        )
    print(*(f"{key}: {value}" for key, value in run.results().facts.items()), sep="\n", flush=True)
    for stage, until in STAGES.items():
        run.stage(stage, until)
    if not arguments.rehearse:
        run.tools()
    run.write()
    steps, summary = run.text(each_product=False)
    wrote = f"\nwrote {arguments.output}/gpu.json, gpu.md, gpu_break_even.json"
    print(steps, summary, wrote, sep="\n", flush=True)
    results = run.results()
    unchecked = results.unchecked() and not arguments.rehearse
    return int(bool(run.failures or results.problems() or unchecked))


def _library(arguments: argparse.Namespace) -> Path:
    """The one that was named, or one that is built now."""
    if arguments.library:
        if not arguments.library.exists():
            sys.exit(f"There is no library {arguments.library}.")
        return arguments.library.resolve()
    folder = arguments.output / "library"
    if arguments.rehearse:
        from benchmarks.gpu import rehearsal

        return rehearsal.build(folder).resolve()
    print("building the library: minutes; --library takes one that was built elsewhere", flush=True)
    builder = str(report.ROOT / "custom_ops" / "build" / "build_ops.py")
    command = [sys.executable, builder, "--gpu", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    print(built.stderr[-2000:], end="", flush=True)  # what was left out, and why
    if built.returncode:
        sys.exit(
            "There is no library, and it cannot be built here: that needs g++, nvcc and Triton. "
            "--library names one that was built elsewhere."
        )
    return (folder / "libkeras_sparse_gpu.so").resolve()


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    build = "python custom_ops/build/build_ops.py --gpu FOLDER"
    output = Path(os.environ.get("OUT") or report.ROOT / "build" / "gpu")
    add("--library", type=Path, help=f"libkeras_sparse_gpu.so of `{build}`; else it is built")
    add("--output", type=Path, default=output, help="a folder; else $OUT, or build/gpu")
    add("--seconds", type=float, default=480, help="of all stages, without building the library")
    add("--rehearse", action="store_true", help="on a CPU, tiny shapes, Triton's interpreter")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
