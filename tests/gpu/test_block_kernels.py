"""The kernels for blocks are right, and fit a GPU's registers and memory; see on_interpreter.py."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMPILE = ROOT / "custom_ops" / "triton" / "compile_block_kernels.py"

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="there is no C++ compiler"
    ),
    pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="there is no Triton"),
]


def test_interpreted_they_are_right():
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--noconftest",
        "-c",
        "/dev/null",
        "--rootdir",
        str(ROOT / "tests" / "gpu"),
        "-p",
        "no:cacheprovider",
    ]
    result = subprocess.run(
        [*command, str(ROOT / "tests" / "gpu" / "on_interpreter.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
    assert "skipped" not in result.stdout


def test_they_spill_nothing_and_use_tensor_cores():
    printed = subprocess.run(
        [sys.executable, str(COMPILE), "--resources"], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in printed.splitlines()]
    assert len(rows) == 5 * 3 * 3 * 2
    for kernel, type_, block, capability, _, spilled, shared, multiplies in rows:
        assert int(spilled) == 0, (kernel, type_, block, capability)
        assert (
            int(shared) <= (99 if capability == "80" else 227) * 1024
        )  # the least of GPUs of capability 8, and what 9.0 has
        if kernel == "sum_products":
            assert multiplies == ("wgmma" if capability == "90" else "mma.sync"), (type_, block)
