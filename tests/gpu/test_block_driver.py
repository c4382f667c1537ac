"""The kernels for blocks reach a GPU as planned: a fake driver prints the calls that it gets."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
CXX = next((name for name in ("g++", "clang++", "c++") if shutil.which(name)), None)
HIDDEN = 2  # parameters that Triton adds: scratch memory, which these kernels have none of

pytestmark = pytest.mark.skipif(
    CXX is None or importlib.util.find_spec("triton") is None,
    reason="there is no C++ compiler, or no Triton",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder with the library, and one with the driver."""
    library, driver = tmp_path_factory.mktemp("library"), tmp_path_factory.mktemp("driver")
    subprocess.run(
        [
            sys.executable,
            str(ROOT / "custom_ops" / "build" / "build_ops.py"),
            "--gpu",
            str(library),
        ],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [CXX, "-shared", "-fPIC", "-o", str(driver / "libcuda.so.1"), str(HERE / "fake_driver.cc")],
        check=True,
    )
    return library / "libkeras_sparse_gpu.so", driver


def launch(
    built, product=0, type_=1, block=32, capability=90, parameters="", driver=True, **environment
):
    """The lines that a launch prints, by their first word."""
    library, folder = built
    environment = {
        **os.environ,
        "FAKE_CAPABILITY": str(capability),
        "FAKE_PARAMETERS": parameters,
        **environment,
    }
    if driver:
        environment["LD_LIBRARY_PATH"] = str(folder)
    command = [
        sys.executable,
        str(HERE / "on_fake_driver.py"),
        str(library),
        *map(str, (product, type_, block)),
    ]
    printed = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout
    lines = {}
    for line in printed.splitlines():
        word, *rest = line.split(maxsplit=1)
        lines.setdefault(word, []).append(rest[0])
    return lines


@pytest.mark.parametrize("product", [0, 1, 2])
def test_launches_are_those_of_the_plan(built, product):
    planned = [line.split() for line in launch(built, product)["plan"]]
    lines = launch(
        built,
        product,
        parameters=" ".join(
            f"{name}={len(arguments) + HIDDEN}" for name, _, _, _, *arguments in planned
        ),
    )
    assert lines["said"] == ["nothing"] * 2
    assert len(lines["launch"]) == 2 * len(planned)  # two calls
    for line, (name, *numbers) in zip(lines["launch"], planned * 2, strict=True):
        launched, image, x, y, z, threads, _, stream, *parameters = line.split()
        assert (launched, image, threads, stream) == (name, "sm_90", "128", "77")
        assert [x, y, z, *parameters] == [*numbers, "0", "0"]


@pytest.mark.parametrize(
    ("capability", "image"),
    [(80, "sm_80"), (86, "sm_80"), (89, "sm_80"), (90, "sm_90"), (100, "text"), (120, "text")],
)
def test_every_gpu_gets_the_code_it_runs(built, capability, image):
    lines = launch(built, capability=capability)
    assert lines["load"] == [image] * 3  # once for each kernel, whatever the number of calls


def test_older_gpus_are_told(built):
    assert (
        launch(built, capability=75)["said"]
        == ["there are no kernels for GPUs of compute capability below 8.0"] * 2
    )


def test_much_shared_memory_is_asked_for(built):
    assert any(line.startswith("sum_products 8 ") for line in launch(built, block=64)["attribute"])


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        ("cuCtxGetCurrent", "asking for the GPU failed: CUDA_ERROR_LAUNCH_FAILED"),
        ("cuModuleLoadData", "loading a kernel failed: CUDA_ERROR_LAUNCH_FAILED"),
        ("cuLaunchKernel", "flag_blocks failed: CUDA_ERROR_LAUNCH_FAILED"),
    ],
)
def test_what_fails_is_said(built, fails, said):
    assert launch(built, FAKE_FAILS=fails)["said"] == [said] * 2


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a driver")
def test_without_a_driver_that_is_said(built):
    assert (
        launch(built, driver=False)["said"]
        == ["there is no CUDA driver: libcuda.so.1 cannot be loaded"] * 2
    )
