"""What `pip install` puts in place works by itself: here without the compiled ops."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import setuptools
from forked import Program

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "custom_ops" / "build"))
from release_check import INFO, LIBRARY, RECORD, check_files_of_wheel, version  # noqa: E402

needs_setuptools = pytest.mark.skipif(
    int(setuptools.__version__.split(".")[0]) < 77, reason="the build needs setuptools>=77"
)
SOURCES = ("keras_sparse", "custom_ops")
FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
TRAIN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import keras, numpy as np, keras_sparse as ks
from keras_sparse.__main__ import main  # the command line is there, too

assert ks.__file__.startswith(sys.argv[1]), ks.__file__
keras.utils.set_random_seed(0)
layers = [keras.Input((16,)), keras.layers.Dense(32), keras.layers.Dense(4)]
model = ks.sparsify(keras.Sequential(layers))
model.compile(ks.SparseMomentum("adam", density=0.25), "mse")
x, y = np.ones((8, 16), "f"), np.ones((8, 4), "f")
model.fit(x, y, epochs=2, verbose=0, callbacks=[ks.UpdateMasks()])
runs_as = {layer.runs_as((8, *layer.input.shape[1:])) for layer in model.layers}
print(json.dumps([ks.summary(model, "dict")["total"]["density"], sorted(runs_as)]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel without ops, of a copy of the sources: a build writes beside them."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        ignore = shutil.ignore_patterns("_ops", "__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    command = [
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "-w",
        "dist",
        ".",
    ]
    environment = {**os.environ, "KERAS_SPARSE_BUILD_OPS": "0"}
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, check=True)
    (built,) = (folder / "dist").iterdir()
    return built


@needs_setuptools
def test_one_wheel_is_for_every_python_of_its_platform(wheel):
    assert "-py3-none-" in wheel.name


@needs_setuptools
def test_a_wheel_has_every_module_and_every_file_that_modules_read(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "keras_sparse").rglob("*")
        if path.is_file() and not {"__pycache__", "_ops"} & set(path.parts)
    }
    assert names == source | {"keras_sparse/_ops/build.json"}


@needs_setuptools
def test_a_wheel_without_ops_trains_by_stock_operations_and_says_why(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    result = Program(TRAIN, tmp_path).wait()
    assert result.returncode == 0, result.stderr
    density, why = result.stdout.rsplit("\n", 2)[-2].split(", ", 1)
    assert density == "[0.25"
    assert "left out when keras_sparse was installed: KERAS_SPARSE_BUILD_OPS=0 was set" in why


def files_of_a_good_wheel():
    """As release.py makes it, with texts in place of the library and the modules."""
    lines = (f"Version: {version()}", "License-Expression: Apache-2.0", "Requires-Python: >=3.11")
    metadata = "\n".join(("Metadata-Version: 2.4", *lines, "Requires-Dist: tensorflow==2.21.0", ""))
    return {
        "keras_sparse/__init__.py": b"",
        f"keras_sparse/_ops/{LIBRARY}": b"\x7fELF\0custom_ops/tensorflow/lowering.h\0",
        f"keras_sparse/_ops/{RECORD}": json.dumps({"tensorflow": "2.21.0"}).encode(),
        f"{INFO}/METADATA": metadata.encode(),
    }


def test_a_good_wheel_passes_the_check_of_a_release():
    check_files_of_wheel(files_of_a_good_wheel())


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        (f"keras_sparse/_ops/{LIBRARY}", b"\0/tmp/build-1/lowering.h\0", "paths of this machine"),
        ("keras_sparse/rules.py", f"{ROOT}/x".encode(), "paths of this machine"),
        ("keras_sparse/tests/test_x.py", b"", "has tests"),
        ("keras_sparse.libs/libtensorflow_cc.so.2", b"", "keras_sparse.libs"),
        (f"keras_sparse/_ops/{RECORD}", b'{"tensorflow": "2.22.0"}', "tensorflow==2.22.0"),
    ],
)
def test_the_check_of_a_release_names_what_is_wrong(name, content, what):
    with pytest.raises(AssertionError, match=re.escape(what)):
        check_files_of_wheel({**files_of_a_good_wheel(), name: content})


def test_the_check_of_a_release_misses_the_ops():
    files = files_of_a_good_wheel()
    del files[f"keras_sparse/_ops/{LIBRARY}"]
    with pytest.raises(AssertionError, match="has no ops"):
        check_files_of_wheel(files)
