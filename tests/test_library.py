"""The compiled ops are found, or the reason why not is reported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from forked import Program
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute import library

ROOT = Path(__file__).resolve().parents[1]


def folder_with(path, **record):
    (path / library.LIBRARY).write_bytes(b"this is no library")
    (path / library.RECORD).write_text(json.dumps(record))
    return path


@needs_ops
def test_they_are_there():
    assert ks.ops.available(), ks.ops.available()
    assert ks.ops.available().instructions in ("AMX", "AVX-512", "AVX2", "portable")
    assert (
        repr(ks.ops.available())
        == f"available, with {ks.ops.available().instructions} instructions"
    )


def test_another_version_of_tensorflow_is_one_sentence(tmp_path):
    functions, available = library.load(folder_with(tmp_path, tensorflow="2.20.0"), "2.21.0")
    assert functions is None
    assert not available
    assert (
        available.reason
        == f"they were built for TensorFlow 2.20.0, and this is 2.21.0. {library.REINSTALL}"
    )
    assert repr(available) == f"not available: {available.reason}"


def test_a_missing_file(tmp_path):
    assert f"{tmp_path / library.LIBRARY} is not there" in library.why_not(tmp_path, "2.21.0")
    (tmp_path / library.RECORD).write_text(json.dumps({"tensorflow": "2.21.0"}))
    assert f"{tmp_path / library.LIBRARY} is not there" in library.why_not(tmp_path, "2.21.0")


def test_what_the_installation_said(tmp_path):
    folder = folder_with(tmp_path, why_not="no C++ compiler was found")
    assert "left out when keras_sparse was installed: no C++ compiler was found" in library.why_not(
        folder, "2.21.0"
    )


@needs_ops
def test_a_file_that_is_no_library(tmp_path):
    functions, available = library.load(folder_with(tmp_path, tensorflow="2.21.0"), "2.21.0")
    assert functions is None
    assert "cannot be loaded: " in available.reason


@pytest.mark.parametrize("record", ['{"tensorflow": "2.2', "", "[1]", "null", "\xff\xfe"])
def test_a_damaged_record_is_one_sentence(tmp_path, record):
    folder = folder_with(tmp_path, tensorflow="2.21.0")
    (folder / library.RECORD).write_bytes(record.encode("latin-1"))
    functions, available = library.load(folder, "2.21.0")
    assert functions is None
    assert "build.json is damaged" in available.reason
    assert library.REINSTALL in available.reason


@needs_ops
@pytest.mark.parametrize("part", [0.0, 1e-5, 0.1, 0.5, 0.9, 0.9999])
def test_a_part_of_the_library_is_not_loaded(tmp_path, part):
    """Loading it would kill the process."""
    whole = Path(os.environ.get("KERAS_SPARSE_OPS", library.FOLDER)) / library.LIBRARY
    assert not library.is_cut_short(whole)
    folder = folder_with(tmp_path, tensorflow="2.21.0")
    with whole.open("rb") as file:
        (folder / library.LIBRARY).write_bytes(file.read(int(whole.stat().st_size * part)))
    functions, available = library.load(folder, "2.21.0")
    assert functions is None
    assert "damaged" in available.reason or "cannot be loaded: " in available.reason


@needs_ops
def test_a_library_for_another_processor_is_not_loaded(tmp_path):
    whole = Path(os.environ.get("KERAS_SPARSE_OPS", library.FOLDER)) / library.LIBRARY
    data = bytearray(whole.read_bytes())
    data[18:20] = (0xF3).to_bytes(2, "little")  # RISC-V
    folder = folder_with(tmp_path, tensorflow="2.21.0")
    (folder / library.LIBRARY).write_bytes(data)
    functions, available = library.load(folder, "2.21.0")
    assert functions is None
    assert "cannot be loaded: " in available.reason


IMPORTS = """
import keras, numpy as np, keras_sparse as ks, sys
x, k = np.ones((2, 3), "f"), np.ones((3, 4), "f")
"""


def run(code, **environment):
    return Program(IMPORTS + code, **environment).wait()


@needs_ops
def test_without_them_the_stock_operations_do_the_same(tmp_path):
    code = "print(ks.ops.sparse_matmul(x, k, k > 0).numpy().sum(), ks.ops.available())"
    result = run(code, KERAS_SPARSE_OPS=str(tmp_path))
    assert result.stdout.startswith(
        "24.0 not available: keras_sparse was installed without them"
    ), result.stderr


@needs_ops
def test_asking_for_them_gives_the_reason(tmp_path):
    folder_with(tmp_path, tensorflow="1.0.0")
    result = run(
        "ks.ops.sparse_matmul(x, k, k > 0, implementation='custom_op')",
        KERAS_SPARSE_OPS=str(tmp_path),
    )
    assert "ValueError: `implementation` must be" in result.stderr
    assert "they were built for TensorFlow 1.0.0, and this is" in result.stderr


def test_another_backend_neither_loads_nor_imports_tensorflow():
    code = IMPORTS + (
        "total = ks.ops.sparse_matmul(x, k, k > 0).sum()\n"
        "print(bool(ks.ops.available()), total, 'tensorflow' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "False 24.0 False", result.stderr


@needs_ops
@pytest.mark.parametrize("instructions", ["AVX2", "portable"])
def test_fewer_instructions_can_be_asked_for(instructions):
    code = (
        "out = ks.ops.sparse_matmul(x, k, k > 0, implementation='custom_op')\n"
        "print(ks.ops.available().instructions, out.numpy().sum())"
    )
    result = run(code, KERAS_SPARSE_INSTRUCTIONS=instructions)
    assert result.stdout.strip() in (f"{instructions} 24.0", "portable 24.0"), result.stderr
