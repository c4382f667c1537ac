"""Processes that are the workers of one cluster, and the programs of the documentation."""

import json
import os
import re
import socket
import tempfile
from pathlib import Path

from forked import Program

ROOT = Path(__file__).resolve().parents[1]
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "examples", ROOT / "tests")))
ENVIRONMENT = {"PYTHONPATH": PATHS, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}

# A worker that ends before another has received what it sent closes the other's connection.
AT_END = """
import os, pathlib, time
ended, latest = pathlib.Path(os.environ["WORKERS_ENDED"]), time.monotonic() + 30
(ended / str(os.getpid())).touch()
while len(list(ended.iterdir())) < int(os.environ["WORKERS"]) and time.monotonic() < latest:
    time.sleep(0.01)
"""


def run_workers(program, count):
    """Runs a program for each worker at once; their outputs. One worker has no cluster."""
    clusters = [{"TF_CONFIG": each} for each in cluster(count)] if count > 1 else [{}]
    strict = f"import warnings\nwarnings.simplefilter('error', UserWarning)\n{program}{AT_END}"
    with tempfile.TemporaryDirectory() as folder:
        both = {**ENVIRONMENT, "WORKERS_ENDED": folder, "WORKERS": str(count)}
        workers = [Program(strict, **both, **configuration) for configuration in clusters]
        ended = [worker.wait() for worker in workers]
    assert not any(worker.returncode for worker in ended), "\n".join(
        worker.stderr[-3000:] for worker in ended
    )
    return [worker.stdout for worker in ended]


def blocks_of(page):
    """The Python programs in a page of the documentation."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def cluster(count):
    """TF_CONFIG of each worker."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]
