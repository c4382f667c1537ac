"""The C++ tests: every engine of this machine computes what the reference computes."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "custom_ops" / "build"))
from build_ops import build_tests

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="there is no C++ compiler"
)


@pytest.fixture(scope="module")
def programs():
    return {program.name: program for program in build_tests()}


@pytest.mark.parametrize("name", ["grid_test", "step_test", "normalization_test"])
def test_all_kernels_compute_what_the_reference_computes(programs, name):
    random_cases = "20"  # beside the grid; `make sanitize` runs more
    result = subprocess.run(
        [programs[name], random_cases], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
