"""The C++ tests of the kernels pass with every instruction set of this machine."""

import os
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


@pytest.mark.parametrize("instructions", ["AVX-512", "AVX2", "portable"])
@pytest.mark.parametrize("name", ["conv_test", "matmul_test", "momentum_test"])
def test_the_kernels_compute_what_the_reference_computes(programs, name, instructions):
    result = subprocess.run(
        [programs[name]],
        env={**os.environ, "KERAS_SPARSE_INSTRUCTIONS": instructions},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


def test_the_kernels_in_cuda_compute_on_a_cpu_what_the_reference_computes(programs):
    result = subprocess.run([programs["cuda_test"]], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
