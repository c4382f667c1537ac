"""Checks the files of a release: what is inside, and that they work where no compiler is."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

from build_ops import LIBRARY, RECORD
from compile_files import ROOT

COMPILERS = ("c++", "g++", "clang++", "cc", "gcc", "clang", "nvcc")
MACHINE_PATH = rb"(?<![\w.])/(?:home|work|tmp|root|Users|build)/\w[^\0\s]*"
INSTALLED = Path(__file__).with_name("installed_check.py")


def version() -> str:
    """The version in the source."""
    source = (ROOT / "keras_sparse" / "__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', source, re.MULTILINE)
    assert found, "keras_sparse/__init__.py has no __version__"
    return found[1]


INFO = f"keras_sparse-{version()}.dist-info"


def check_contents(wheel: Path, sdist: Path) -> None:
    """Names, tags, metadata and files of both; AssertionError names what is wrong."""
    expected = f"keras_sparse-{version()}"
    assert wheel.name.startswith(f"{expected}-py3-none-manylinux_"), wheel.name
    assert sdist.name == f"{expected}.tar.gz", sdist.name
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert f"## [{version()}]" in changes, f"CHANGELOG.md has no heading [{version()}]"
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    check_files_of_wheel(files)
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = {f"custom_ops/build/{INSTALLED.name}", "custom_ops/cpu/plan.cc", "LICENSE"} - names
    assert not missing, f"{sdist.name} misses {missing}"
    assert not any(name.startswith("tests/") for name in names), f"{sdist.name} has tests"


def check_files_of_wheel(files: dict[str, bytes]) -> None:
    """The package and its ops, no test and no path of this machine; the right requirements."""
    top = {name.partition("/")[0] for name in files}
    assert top == {"keras_sparse", INFO}, f"the wheel has {top}"
    tests = [name for name in files if re.search(r"(^|/)(tests?|conftest|test_\w+)[/.]", name)]
    assert not tests, f"the wheel has tests: {tests}"
    for name, content in files.items():
        found = re.findall(MACHINE_PATH, content) if name.startswith("keras_sparse/_ops/") else []
        found += [path for path in (ROOT, Path.home()) if f"{path}/".encode() in content]
        assert not found, f"{name} has paths of this machine: {found[:5]}"
    assert f"keras_sparse/_ops/{LIBRARY}" in files, "the wheel has no ops"
    record = json.loads(files[f"keras_sparse/_ops/{RECORD}"])
    metadata = files[f"{INFO}/METADATA"].decode()
    for line in (
        f"Version: {version()}",
        "License-Expression: Apache-2.0",
        "Requires-Python: >=3.11",
        f"Requires-Dist: tensorflow=={record['tensorflow']}",
    ):
        assert f"\n{line}\n" in metadata, f"METADATA has no line {line!r}"


def check_installed(wheel: Path, sdist: Path, python: str) -> None:
    """Installs the wheel, then the sdist, into a new environment without a compiler, and trains.

    Args:
        wheel: with the ops, which the README's example then uses.
        sdist: whose ops nobody can compile there; the example uses stock operations.
        python: the interpreter to make the environment with, a command or a version as "3.13".
    """
    command = f"python{python}" if re.fullmatch(r"3\.\d+", python) else python
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([command, "-m", "venv", folder / "env"], check=True)
        environment = without_compiler(folder / "env" / "bin")

        def run(*arguments: str | Path) -> None:
            program = [folder / "env" / "bin" / "python", *arguments]
            subprocess.run(program, check=True, env=environment, cwd=folder)

        run("-m", "pip", "install", "--quiet", f"{wheel}[demo]")
        run(INSTALLED, ROOT / "README.md", version(), "with-ops")
        run("-m", "pip", "install", "--quiet", "--force-reinstall", "--no-deps", sdist)
        run(INSTALLED, ROOT / "README.md", version(), "without-ops")


def without_compiler(folder: Path) -> dict[str, str]:
    """The environment variables of a user who has a Python in this folder, and no compiler."""
    hidden = ("CXX", "CC", "NVCC", "PYTHON", "KERAS", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    for compiler in COMPILERS:
        assert shutil.which(compiler, path=str(folder)) is None, f"{folder} has {compiler}"
    return {**kept, "PATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
