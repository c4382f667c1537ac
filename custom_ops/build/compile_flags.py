"""The files of the library, and the flags that each is compiled with."""

import platform
from collections.abc import Sequence
from pathlib import Path

from compile_files import CODE, ROOT

COMMON = ["-std=c++17", "-O3", "-fPIC", "-Wall", "-Wextra", f"-I{ROOT}"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
INSTRUCTIONS = {"avx2": ["-mavx2", "-mfma", "-mf16c"], "avx512": AVX512, "amx": AVX512}


def x86() -> bool:
    """Whether the kernels for AVX2 and AVX-512 are of use."""
    return platform.machine().lower() in ("x86_64", "amd64")


def sources() -> list[Path]:
    """All files of the library."""
    files = [file for file in sorted(CODE.glob("*/*.cc")) if file.parent.name != "tests"]
    return files if x86() else [file for file in files if _instructions(file) not in INSTRUCTIONS]


def _instructions(source: Path) -> str:
    """What a file is compiled for: the last word of its name, if it is a set of instructions."""
    return source.stem.rpartition("_")[2]


def flags(source: Path) -> list[str]:
    """The flags of a file, without those of TensorFlow."""
    special = list(INSTRUCTIONS.get(_instructions(source), []))
    if source.stem.startswith("step_"):  # rounds as TensorFlow's own operations do
        special += ["-ffp-contract=off", "-fno-math-errno"]  # a root is one instruction
    return [*COMMON, *special, *([] if x86() else ["-DKERAS_SPARSE_ONLY_PORTABLE"])]


def tensorflow_flags(compile_flags: Sequence[str]) -> list[str]:
    """For the files in tensorflow/. Its headers warn, so they are system headers.

    TensorFlow is built with NDEBUG: without it, a tensorflow::EdgeSet has another layout.
    """
    include = next(flag[2:] for flag in compile_flags if flag.startswith("-I"))
    others = [flag for flag in compile_flags if not flag.startswith(("-I", "--std", "-std"))]
    paths = [
        include,
        f"{include}/external/farmhash_archive/src",
        str(ROOT / "keras_sparse" / "tpu_check" / "native"),  # highwayhash, which the wheel omits
    ]
    return [
        *others,
        "-DNDEBUG",
        "-O1",
        *(part for path in paths for part in ("-isystem", path)),
    ]  # -O1: nothing here takes time when it runs


def without_machine_paths(tf: dict) -> list[str]:
    """Flags for a library that travels: its messages name files of TensorFlow and of this folder.

    Otherwise they hold the path of this folder, and where TensorFlow is on this machine.
    """
    include = next(flag[2:] for flag in tf["compile"] if flag.startswith("-I"))
    return [f"-ffile-prefix-map={folder}/=" for folder in (ROOT, include)]  # the last one wins
