"""Builds kernels and ops with sanitizers and runs their tests: wrong memory accesses, and races.

    python custom_ops/build/sanitize.py          # all three, about ten minutes
    python custom_ops/build/sanitize.py address  # C++ tests: memory and undefined behaviour
    python custom_ops/build/sanitize.py thread   # C++ tests on threads: races
    python custom_ops/build/sanitize.py ops      # the ops: KERAS_SPARSE_FUZZ (10000) random shapes;
                                                 # and the passes over graphs

TensorFlow itself is not instrumented: of what it does, only calls of memory functions are seen.
Files that include it are built with AddressSanitizer alone. Needs g++.
"""

import os
import subprocess
import sys
from pathlib import Path

from build_ops import ROOT, build, build_tests, compiler

BUILD = ROOT / "build" / "sanitized"
ADDRESS = [
    "-O1",
    "-g",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined",
]
THREAD = ["-O1", "-g", "-fsanitize=thread"]


def run_tests(kind: str, flags: list[str]) -> None:
    """The C++ tests."""
    for program in build_tests(BUILD / kind, flags):
        print(f"{kind}: {program.name}", flush=True)
        subprocess.run([program], check=True)


def address() -> None:
    """Memory and undefined behaviour in the kernels."""
    run_tests("address", ADDRESS)


def thread() -> None:
    """Races in the kernels."""
    run_tests("thread", THREAD)


def ops() -> None:
    """Memory and undefined behaviour in ops and passes: their tests, and many random shapes."""
    folder = BUILD / "ops"
    build(folder, BUILD / "address", ADDRESS)
    # AddressSanitizer looks for the exceptions of C++ when the program begins.
    names = ("libasan.so", "libstdc++.so")
    libraries = [
        subprocess.run(
            [*compiler(), f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in names
    ]
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(str(Path(library).resolve()) for library in libraries),
        "ASAN_OPTIONS": "detect_leaks=0,detect_odr_violation=0",
        "KERAS_SPARSE_OPS": str(folder),
        "KERAS_SPARSE_FUZZ": os.environ.get("KERAS_SPARSE_FUZZ", "10000"),
    }
    of_ops = "test_any_shape or masked_dense or refuse or nothing or threads or ops_arguments"
    of_passes = (
        *("gradient_lists", "both_gradients", "handed_values", "joined_bias", "kept_values"),
        *("normalization_op", "normalization_attributes"),
    )
    tests = ("ops", "ops_arguments", "ops_threads", *of_passes)
    files = [f"tests/test_{name}.py" for name in tests]
    chosen = " or ".join((of_ops, *of_passes))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-s", "-k", chosen, *files]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    for kind in sys.argv[1:] or ("address", "thread", "ops"):
        {"address": address, "thread": thread, "ops": ops}[kind]()
