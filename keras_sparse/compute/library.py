"""The compiled ops, or why they cannot be used.

They are built at installation, for one version of TensorFlow.
"""

import ctypes
import dataclasses
import functools
import json
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_sparse._keras import is_eager, running_export

# custom_ops/build/build_ops.py writes into it; the variable KERAS_SPARSE_OPS names another one.
FOLDER = Path(__file__).parents[1] / "_ops"
LIBRARY, RECORD = "libkeras_sparse_ops.so", "build.json"
ANOTHER_COPY = (
    "another copy of them was loaded before, as that of an exported model. In a new process, "
    "import keras_sparse before you load that model"
)
REINSTALL = (
    "Reinstall it where g++ or clang++ is, in the folder of keras_sparse: "
    "pip install --force-reinstall --no-deps --no-cache-dir ."
)


@dataclasses.dataclass(frozen=True)
class Availability:
    """Truthy if the compiled ops can be used.

    Args:
        reason: why not, or None.
        instructions: which instructions of the processor they use: "AMX" (with AVX-512),
            "AVX-512", "AVX2" or "portable".
        without: why the build left out kernels for GPUs: {"blocks": ..., "cuda_cores": ...}.
    """

    reason: str | None
    instructions: str | None = None
    without: dict[str, str] = dataclasses.field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.reason is None

    def __repr__(self) -> str:
        return (
            f"available, with {self.instructions} instructions"
            if self
            else f"not available: {self.reason}"
        )


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


def why_no_custom_ops() -> str | None:
    """Why compiled ops compute nothing here, whatever the product, or None."""
    if not (now := available()):
        return f"the compiled ops are {now}"
    if _under_tpu_strategy():
        return "the model is under a TPUStrategy, and the compiled ops are for CPUs and GPUs"
    if not is_eager() and (name := running_export()) is not None:
        warnings.warn(
            "`model.export` writes the stock operations of sparse layers, and their masks: files "
            f"of the format {name!r} have no custom ops. `ks.export(model, path, {name!r})` writes "
            "no masks, and checks the file.",
            stacklevel=2,
        )
        return f"`model.export` writes a file of the format {name!r}, which has no custom ops"
    return None


def _under_tpu_strategy() -> bool:
    """Then TensorFlow would run unknown ops on the host, in the middle of the TPUs' step."""
    import tensorflow as tf

    return isinstance(tf.distribute.get_strategy(), tf.distribute.TPUStrategy)


def library() -> Any:
    """The ops as Python functions; RuntimeError, with the reason, where they cannot be used."""
    if not (now := available()):
        raise RuntimeError(f"The compiled ops of keras_sparse are {now}")
    return _loaded()[0]


def why_not(folder: Path, version: str) -> str | None:
    """Why this version of TensorFlow cannot load the ops in a folder, or None."""
    built = read_record(folder)
    if built is None:
        return f"{folder / RECORD} is damaged, so what it was built for is not known. {REINSTALL}"
    if "why_not" in built:
        return (
            f"they were left out when keras_sparse was installed: {built['why_not']}. {REINSTALL}"
        )
    if "tensorflow" not in built or not (folder / LIBRARY).exists():
        return (
            f"keras_sparse was installed without them: {folder / LIBRARY} is not there. {REINSTALL}"
        )
    if built["tensorflow"] != version:
        return (
            f"they were built for TensorFlow {built['tensorflow']}, and this is {version}. "
            f"{REINSTALL}"
        )
    try:
        damaged = is_cut_short(folder / LIBRARY)
    except OSError as error:
        return f"{folder / LIBRARY} cannot be read: {error}. {REINSTALL}"
    return (
        f"{folder / LIBRARY} is damaged: a part of it is missing. {REINSTALL}" if damaged else None
    )


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of the build: empty where there was no build, None where it is damaged."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):  # ValueError: no JSON, or no text at all
        return None
    return record if isinstance(record, dict) else None


def is_cut_short(library: Path) -> bool:
    """Does a part of this ELF file lie beyond its end?

    Loading such a file would kill the process (SIGBUS).
    """
    with library.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(64)
        # 64 bits, little-endian; else its loader says what is wrong.
        if header[:6] != b"\x7fELF\x02\x01":
            return False
        if len(header) < 64:
            return True
        segments, sections = struct.unpack_from("<QQ", header, 32)
        segment_size, segment_count, section_size, section_count = struct.unpack_from(
            "<4H", header, 54
        )
        file.seek(segments)
        table = file.read(segment_size * segment_count)
    if sections + section_size * section_count > size or len(table) < segment_size * segment_count:
        return True
    spans = (
        struct.unpack_from("<Q16xQ", table, i * segment_size + 8) for i in range(segment_count)
    )
    return any(offset + length > size for offset, length in spans)


def tensorflow_version() -> str:
    """The version of TensorFlow, "2.21.0"."""
    import tensorflow as tf

    return str(tf.__version__)


def library_path() -> Path:
    """The file of the ops."""
    return Path(os.environ.get("KERAS_SPARSE_OPS", FOLDER)) / LIBRARY


@functools.cache
def _loaded() -> tuple[Any, Availability]:
    return load(library_path().parent, tensorflow_version())


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
        return None, Availability(
            f"{folder / LIBRARY} cannot be loaded: {str(error).splitlines()[0]}. {REINSTALL}"
        )
    if not hasattr(functions, "keras_sparse_conv2d"):
        return None, Availability(ANOTHER_COPY)
    instructions.restype = ctypes.c_char_p
    gpu = (read_record(folder) or {}).get("gpu") or {}
    return functions, Availability(
        None, instructions().decode(), {part: why for part, why in gpu.items() if why}
    )
