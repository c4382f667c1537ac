"""Processes that are the workers of one cluster, and the programs of the documentation."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATHS = os.pathsep.join(map(str, (ROOT, ROOT / "examples", ROOT / "tests")))
ENVIRONMENT = {"PYTHONPATH": PATHS, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def run_workers(program, count):
    """Runs a program for each worker at once; their outputs. One worker has no cluster."""
    configurations = (
        [{"TF_CONFIG": json.dumps(configuration)} for configuration in _cluster(count)]
        if count > 1
        else [{}]
    )
    command = [sys.executable, "-W", "error::UserWarning", "-c", program]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers = [
        subprocess.Popen(command, env={**os.environ, **ENVIRONMENT, **configuration}, **pipes)
        for configuration in configurations
    ]
    try:
        ended = [worker.communicate(timeout=300) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert not any(worker.returncode for worker in workers), "\n".join(
        errors[-3000:] for _, errors in ended
    )
    return [output for output, _ in ended]


def blocks_of(page):
    """The Python programs in a page of the documentation."""
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def _cluster(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        for index in range(count)
    ]
