"""Where are the compiled ops, and if they cannot be had, why?  They are built when the package is installed, for one TensorFlow."""

import ctypes
import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import keras

FOLDER = Path(__file__).parent / "_ops"  # custom_ops/build_ops.py writes into it; KERAS_SPARSE_OPS names another one
LIBRARY, RECORD = "libkeras_sparse_ops.so", "build.json"
REINSTALL = "Reinstall it where g++ or clang++ is: pip install --force-reinstall --no-deps --no-cache-dir keras-sparse"


@dataclasses.dataclass(frozen=True)
class Availability:
    """Truthy if the compiled ops can be used.

    Args:
        reason: why not, or None.
        instructions: which instructions of the processor they use: "AVX-512", "AVX2" or "portable".
        without: why kernels for GPUs were left out when they were built: {"blocks": ..., "cuda_cores": ...}.
    """

    reason: str | None
    instructions: str | None = None
    without: dict[str, str] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.reason is None

    def __repr__(self) -> str:
        return f"available, with {self.instructions} instructions" if self else f"not available: {self.reason}"


def available() -> Availability:
    """Can the compiled ops be used?  Loads them, on the first call.

    Returns:
        An object that is truthy if so, with ``instructions``; else with ``reason``, a str.

    >>> bool(ks.ops.available()) == (ks.ops.available().reason is None)
    True
    """
    if keras.backend.backend() != "tensorflow":
        return Availability(f"they are for TensorFlow, and Keras runs on {keras.backend.backend()}")
    return _loaded()[1]


def library() -> Any:
    """The ops as Python functions; RuntimeError, with the reason, where they cannot be had."""
    if not (now := available()):
        raise RuntimeError(f"The compiled ops of keras_sparse are {now}")
    return _loaded()[0]


def why_not(folder: Path, version: str) -> str | None:
    """Why the ops in a folder are not for this version of TensorFlow, before anything is loaded; None if they are."""
    record = folder / RECORD
    built = json.loads(record.read_text()) if record.exists() else {}
    if "why_not" in built:
        return f"they were left out when keras_sparse was installed: {built['why_not']}. {REINSTALL}"
    if "tensorflow" not in built or not (folder / LIBRARY).exists():
        return f"keras_sparse was installed without them: {folder / LIBRARY} is not there. {REINSTALL}"
    if built["tensorflow"] != version:
        return f"they were built for TensorFlow {built['tensorflow']}, and this is {version}. {REINSTALL}"
    return None


@functools.cache
def _loaded() -> tuple[Any, Availability]:
    import tensorflow as tf

    return load(Path(os.environ.get("KERAS_SPARSE_OPS", FOLDER)), tf.__version__)


def load(folder: Path, version: str) -> tuple[Any, Availability]:
    """(The ops as Python functions, or None; whether they can be used)."""
    import tensorflow as tf

    reason = why_not(folder, version)
    if reason is not None:
        return None, Availability(reason)
    try:
        functions = tf.load_op_library(str(folder / LIBRARY))
        instructions = ctypes.CDLL(str(folder / LIBRARY)).keras_sparse_instructions
    except (OSError, AttributeError, tf.errors.OpError) as error:
        return None, Availability(f"{folder / LIBRARY} cannot be loaded: {str(error).splitlines()[0]}. {REINSTALL}")
    instructions.restype = ctypes.c_char_p
    gpu = json.loads((folder / RECORD).read_text()).get("gpu", {})
    return functions, Availability(None, instructions().decode(), {part: why for part, why in gpu.items() if why})
