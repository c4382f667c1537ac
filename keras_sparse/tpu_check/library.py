"""Where is the library that lowers steps for TPUs?  Compiled with g++ on first use, half a minute, and kept for the next time."""

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

SOURCES = Path(__file__).parent / "native"
LOAD_FIRST = "Load it first in a process: `keras_sparse.tpu_check.load()`, before any layer, model or tf.function is made."


class CannotLowerError(Exception):
    """What is missing to lower a step, in one sentence."""


@functools.cache
def load() -> Any:
    """Loads the library, compiling it if need be; after that this process can lower functions for TPUs.

    Raises:
        CannotLowerError: no compiler, sources that do not compile, or TensorFlow has run functions before.
    """
    file = folder() / f"tpu_lower-{_stamp()}.so"
    with _only_one(file.parent):
        if not file.exists():
            _compile(file)
    try:
        tf.load_library(str(file))
    except (RuntimeError, tf.errors.OpError) as error:
        raise CannotLowerError(f"{file} cannot be loaded: {error}. Delete it.") from error
    library = ctypes.CDLL(str(file))
    library.keras_sparse_tpu_answer.restype = ctypes.c_void_p
    library.keras_sparse_tpu_message.restype = library.keras_sparse_tpu_ops.restype = (
        ctypes.c_char_p
    )
    if b"Conv2D\n" not in library.keras_sparse_tpu_ops():
        raise CannotLowerError(
            f"TensorFlow has registered its XLA kernels already, without those for TPUs. {LOAD_FIRST}"
        )
    return library


def folder() -> Path:
    """Where it is kept: keras_sparse in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_sparse"


def compiler() -> list[str] | None:
    """The command that compiles C++: $CXX, g++ or clang++; None if there is none."""
    command = shlex.split(os.environ.get("CXX", "")) or next(
        ([name] for name in ("g++", "clang++") if shutil.which(name)), []
    )
    return command if command and shutil.which(command[0]) else None


def _stamp() -> str:
    """Another one for other sources, and for another TensorFlow."""
    texts = [
        tf.__version__,
        *tf.sysconfig.get_compile_flags(),
        *(file.read_text() for file in sorted(SOURCES.rglob("*.*"))),
    ]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """One process at a time looks into the folder; others wait until it has compiled."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(file: Path) -> None:
    command = compiler()
    if command is None:
        raise CannotLowerError(
            f"Lowering for TPUs takes a C++ compiler, and there is none (CXX={os.environ.get('CXX', '')!r}, g++, clang++)."
        )
    include = tf.sysconfig.get_include()
    paths = [
        f"-I{SOURCES}",
        "-isystem",
        include,
        "-isystem",
        f"{include}/external/farmhash_archive/src",
    ]
    others = [flag for flag in tf.sysconfig.get_compile_flags() if not flag.startswith("-I")]
    with tempfile.TemporaryDirectory(
        dir=file.parent
    ) as scratch:  # so that there is never half a library
        new = Path(scratch) / file.name
        libraries = [*tf.sysconfig.get_link_flags(), "-l:libtensorflow_cc.so.2"]
        command = [
            *command,
            *others,
            "-O1",
            "-shared",
            "-fPIC",
            "-w",
            *paths,
            str(SOURCES / "tpu_lower.cc"),
            "-o",
            str(new),
            *libraries,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotLowerError(f"`{shlex.join(command)}` failed:\n{done.stderr[:4000]}")
        new.replace(file)
