"""The library that lowers steps for TPUs: compiled on first use, then kept in a cache folder."""

import ctypes
import functools
import hashlib
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf

from keras_sparse.conversion.progress import progress
from keras_sparse.tpu_check.cxx import compiler, exclusive

SOURCES = Path(__file__).parent / "native"
LOAD_FIRST = (
    "Call `keras_sparse.tpu_check.load()` first in a process, before you create any layer, model "
    "or tf.function."
)


class CannotLowerError(Exception):
    """A step cannot be lowered on this machine, with the reason."""


@functools.cache
def load() -> Any:
    """Loads the library and compiles it if necessary, so that this process can lower functions.

    Raises:
        CannotLowerError: there is no compiler, the sources do not compile, or TensorFlow has run
            functions before.
    """
    file = folder() / f"tpu_lower-{_stamp()}.so"
    with exclusive(file.parent):
        if not file.exists():
            with progress("compiling what lowers for TPUs"):
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
            "TensorFlow has already registered its XLA kernels, without those for TPUs. "
            f"{LOAD_FIRST}"
        )
    return library


def folder() -> Path:
    """The cache folder of the library: keras_sparse in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "keras_sparse"


def _stamp() -> str:
    """A hash of the sources and of TensorFlow's version and flags."""
    texts = [
        tf.__version__,
        *tf.sysconfig.get_compile_flags(),
        *(file.read_text() for file in sorted(SOURCES.rglob("*.*"))),
    ]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _compile(file: Path) -> None:
    command = compiler()
    if command is None:
        raise CannotLowerError(
            "Lowering for TPUs needs a C++ compiler: $CXX, g++ or clang++. "
            f"Received: CXX={os.environ.get('CXX', '')!r}, and none of them was found"
        )
    # A folder beside the library: another process never sees half a file.
    with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
        new = Path(scratch) / file.name
        command = [
            *command,
            *_flags(),
            str(SOURCES / "tpu_lower.cc"),
            "-o",
            str(new),
            *_libraries(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotLowerError(f"`{shlex.join(command)}` failed:\n{done.stderr[:4000]}")
        new.replace(file)


def _flags() -> list[str]:
    include = tf.sysconfig.get_include()
    system = (include, f"{include}/external/farmhash_archive/src")
    others = [flag for flag in tf.sysconfig.get_compile_flags() if not flag.startswith("-I")]
    paths = [f"-I{SOURCES}", *(each for folder in system for each in ("-isystem", folder))]
    return [*others, "-O1", "-shared", "-fPIC", "-w", *paths]


def _libraries() -> list[str]:
    return [*tf.sysconfig.get_link_flags(), "-l:libtensorflow_cc.so.2"]
