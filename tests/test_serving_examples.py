"""The loaders of examples/serving predict with a SavedModel where there is no Keras."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracle import needs_ops
from test_serving import network

import keras_sparse as ks

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "serving"
pytestmark = [needs_ops, pytest.mark.slow]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """(the folder, the model)"""
    folder, model = tmp_path_factory.mktemp("served") / "model", network()
    ks.export(model, folder, custom_ops=True, verbose=False, compare_dense=False)
    return folder, model


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The compiled loader in C++."""
    spec = importlib.util.spec_from_file_location("build", EXAMPLES / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    path = tmp_path_factory.mktemp("program") / "serve"
    command = build.command(path)
    if shutil.which(command[0]) is None:
        pytest.skip(f"no C++ compiler: {command[0]}")
    package = Path(next(part[2:] for part in command if part.startswith("-L")))
    if not (package / "libtensorflow_cc.so.2").exists():
        pytest.skip("this TensorFlow has no libtensorflow_cc.so.2 to link with")
    subprocess.run(command, check=True)
    return [str(path)]


def run(command, folder, values, tmp_path):
    """Of a process that cannot import keras and keras_sparse."""
    for name in ("keras", "keras_sparse"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    given = values.tobytes()
    return subprocess.run(
        [*command, str(folder)], input=given, capture_output=True, env=environment
    )


def check(command, served, tmp_path):
    folder, model = served
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 16)).astype("float32")
    done = run(command, folder, x, tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    found = np.frombuffer(done.stdout, "float32").reshape(3, -1)
    np.testing.assert_allclose(found, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    record = other / "assets.extra" / "keras_sparse.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "tensorflow": "2.99"}))
    failed = run(command, other, x, tmp_path)
    assert failed.returncode == 1
    *_, sentence = failed.stderr.decode().strip().splitlines()  # behind what TensorFlow logs
    assert "were built for" in sentence
    assert "install" in sentence


def test_the_loader_in_python_predicts_and_names_another_version(served, tmp_path):
    check([sys.executable, str(EXAMPLES / "serve.py")], served, tmp_path)


def test_the_loader_in_cpp_predicts_and_names_another_version(served, program, tmp_path):
    check(program, served, tmp_path)
