"""The C++ compiler of this machine, and one build at a time in a folder.

custom_ops/build/compile_files.py loads this file by its path, before there is a package, so it
imports the standard library alone.
"""

import contextlib
import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

COMPILERS = ("g++", "clang++", "c++")


def compiler() -> list[str] | None:
    """The command of the C++ compiler: $CXX, or the first of COMPILERS; None if there is none."""
    command = shlex.split(os.environ.get("CXX", "")) or next(
        ([name] for name in COMPILERS if shutil.which(name)), []
    )
    return command if command and shutil.which(command[0]) else None


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Locks the folder: other processes wait until this one is done."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
