"""Times two versions of keras_sparse in turns, to show whether the new one is as fast as the old.

    python -m benchmarks.two_versions --old ../old_checkout    # this checkout is the new one

Both checkouts must have their ops compiled (`make ops`). Each version runs in a process of its own
and waits while the other one is timed.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import options, report

WORKER = Path(__file__).with_name("two_versions_worker.py")
CASES = ("VGG11 step", "MLP step", "convolution", "matrix product", "layer, eager")
COMMAND = "python -m benchmarks.two_versions --old ../old_checkout"


def main() -> None:
    """Prints and writes, case by case, the medians and how much longer the new version takes."""
    arguments = _arguments()
    versions = {"old": arguments.old.resolve(), "new": report.ROOT}
    workers = {name: _started(root, arguments.threads) for name, root in versions.items()}
    rows = []
    for case in CASES:
        seconds: dict[str, list[float]] = {"old": [], "new": []}
        for turn in range(arguments.turns):
            for name in ("old", "new") if turn % 2 == 0 else ("new", "old"):
                seconds[name].append(_timed(workers[name], case))
        rows.append(_row(case, seconds))
    for worker in workers.values():
        worker.communicate("end\n")
    columns = ("case", "old, ms", "new, ms", "new / old")
    title = f"New against old, threads: {arguments.threads}"
    text = report.header(title, COMMAND) + report.table(columns, rows)
    report.publish(arguments.output, text)


def _row(case: str, seconds: dict[str, list[float]]) -> tuple[str, str, str, str]:
    old, new = (1000 * statistics.median(seconds[name]) for name in ("old", "new"))
    pairs = zip(seconds["new"], seconds["old"], strict=True)  # of one turn, on the same machine
    return case, f"{old:.2f}", f"{new:.2f}", f"{statistics.median(a / b for a, b in pairs):.2f}"


def _started(root: Path, threads: int) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(root), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["KERAS_SPARSE_OPS"] = str(root / "keras_sparse" / "_ops")
    words = [sys.executable, str(WORKER), str(threads)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, text=True)


def _timed(worker: "subprocess.Popen[str]", case: str) -> float:
    """Seconds of one call of a case, made now by this version."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(f"{case}\n")
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"The worker ended in the case {case!r}: see its error above.")
    return float(line)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "two_versions.md")
    parser.add_argument("--old", type=Path, required=True, help="checkout of the old version")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--turns", type=int, default=15)
    return parser.parse_args()


if __name__ == "__main__":
    main()
