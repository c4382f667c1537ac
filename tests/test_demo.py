"""The demo prints its table, and nothing of TensorFlow's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_sparse as ks

DEMO = Path(__file__).resolve().parents[1] / "examples" / "demo.py"


@pytest.mark.slow
def test_the_demo_compares_three_networks_and_prints_nothing_else():
    pytest.importorskip("sklearn")
    environment = {**os.environ, "PYTHONPATH": str(DEMO.parents[1])}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, str(DEMO), "--epochs", "2", "--width", "32", "--density", "0.1"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    rows = re.findall(
        r"│ (\w[\w, ]*?) +│ +([\d.]+)% │ +([\d.]+) │ +([\d.]+) │ +([\d,]+) kB │", ended.stdout
    )
    names = ["dense", "sparse", "sparse, with kernels"]
    assert [row[0] for row in rows] == (names if ks.ops.available() else names[:2])
    assert [float(row[2]) for row in rows] == [1, 0.1, 0.1][: len(rows)]
    sizes = [int(row[4].replace(",", "")) for row in rows]
    assert all(size < 0.5 * sizes[0] for size in sizes[1:])
    assert ("There are no sparse kernels here" in ended.stdout) == (not ks.ops.available())
