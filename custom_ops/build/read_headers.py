"""Reads TensorFlow's headers once for many files: g++ keeps them as a precompiled header.

They take a compiler longer than anything else in a file of tensorflow/. A few files alone are
compiled sooner without it. It takes 450 MB on the disk, and is deleted when the files are compiled.
What a file defines before its headers does not reach them: compile_flags.py defines it for all.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from compile_files import CannotBuildError, run

FEWEST = 4  # files that must need the headers
HEADERS = (
    *("common_runtime/optimization_registry", "framework/common_shape_fns", "framework/op"),
    *("framework/op_kernel", "framework/shape_inference"),
)
Flags = Callable[[], list[str]]


@contextmanager
def read_once(command: Sequence[str], files: int, scratch: Path) -> Iterator[Flags]:
    """A function whose flags let a file use the headers; it waits until they are read.

    Args:
        command: compiler and flags, as for the files.
        files: how many are to be compiled.
        scratch: the folder for the headers.
    """
    if files < FEWEST or "g++" not in os.path.basename(command[0]) or "clang" in command[0]:
        yield list
        return
    header = scratch / "tensorflow_headers.h"
    header.write_text("".join(f'#include "tensorflow/core/{name}.h"\n' for name in HEADERS))
    kept = header.with_name(f"{header.name}.gch")
    try:
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(_read, command, header, kept)
            yield reading.result
    finally:
        for file in (kept, header):
            file.unlink(missing_ok=True)


def _read(command: Sequence[str], header: Path, kept: Path) -> list[str]:
    try:
        run([*command, "-x", "c++-header", str(header), "-o", str(kept)])
    except CannotBuildError:  # such as a full disk: each file reads its headers
        return []
    # A system header, so that no file is out of date when it is gone.
    return ["-isystem", str(header.parent), "-include", header.name]
