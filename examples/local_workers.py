"""Starts a process for each worker of a program on this machine; if one fails, ends the others."""

import json
import os
import socket
import subprocess
import sys
import time


def launch(count: int) -> None:
    """Runs this program for each worker; if one fails, ends the others, which would wait."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(count)]}
    configurations = [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        for index in range(count)
    ]
    command = [sys.executable, *sys.argv, "--workers", "0"]
    workers = [
        subprocess.Popen(command, env={**os.environ, "TF_CONFIG": configuration})
        for configuration in configurations
    ]
    try:
        while None in (codes := [worker.poll() for worker in workers]) and not any(codes):
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    if any(codes):
        raise SystemExit(
            "A worker has died. Start again to continue from the last checkpoint. "
            f"Received: exit codes {codes}"
        )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
