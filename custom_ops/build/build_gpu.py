"""Compiles the GPU's part: Triton's kernels where Triton is, those in CUDA where nvcc is.

    python custom_ops/build/build_ops.py --gpu FOLDER   # that part alone, without TensorFlow

Neither needs a GPU. Each records why it is left out, and without both the library is the same for
CPUs. The environment: KERAS_SPARSE_BUILD_GPU=0 leaves both out, NVCC names the compiler.
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from compile_files import (
    CODE,
    JOBS,
    ROOT,
    CannotBuildError,
    compiled,
    compiler,
    cxx,
    environments,
    link,
    run_python,
)

LIBRARY = "libkeras_sparse_gpu.so"
COMPILE_BLOCKS = CODE / "triton" / "compile_block_kernels.py"
NO_TRITON = "Triton is not installed (pip install 'triton>=3.9', then build again)"
NO_NVCC = "nvcc was not found (it is in NVIDIA's CUDA toolkit)"
LEFT_OUT = "KERAS_SPARSE_BUILD_GPU=0 was set"
NVCC = [
    "-std=c++17",
    "-O3",
    "-Xcompiler",
    "-fPIC",
    f"-I{ROOT}",
]  # code for A100, H100 and their generations, and text for later ones
CODES = [
    "arch=compute_80,code=sm_80",
    "arch=compute_90,code=sm_90",
    "arch=compute_90,code=compute_90",
]

NO_BLOCKS = """#include "custom_ops/triton/block_variants.h"
namespace keras_sparse {{
const BlockVariant kBlockVariants[] = {{{{}}}};
const int kBlockVariantCount = 0;
const BlockTile kBlockTiles[] = {{{{}}}};
const int kBlockTileCount = 0;
const char* const kWhyNoBlockVariants =
    "`structure` must not be blocks on GPUs: the ops were built without these kernels: {why}";
}}  // namespace keras_sparse
"""


def gpu_enabled() -> bool:
    """Whether the environment allows kernels for GPUs."""
    return os.environ.get("KERAS_SPARSE_BUILD_GPU", "") != "0"


def python_with_triton() -> dict[str, str] | None:
    """The environment in which this interpreter finds Triton."""
    return next(
        (
            environment
            for environment in environments()
            if run_python("import triton.backends.nvidia", environment) is not None
        ),
        None,
    )


def block_table(scratch: Path) -> tuple[Path, str | None]:
    """(The source file with the kernels for blocks, why there are none)."""
    folder = scratch / "blocks"
    environment = python_with_triton() if gpu_enabled() else None
    if environment is None:
        return empty_block_table(folder, NO_TRITON if gpu_enabled() else LEFT_OUT)
    sources = [
        *sorted(COMPILE_BLOCKS.parent.glob("*.py")),
        *sorted(COMPILE_BLOCKS.parent.glob("*.h")),
    ]
    version = run_python("import triton; print(triton.__version__)", environment)
    stamp = hashlib.sha256(
        b"".join(file.read_bytes() for file in sources) + f"{version} {folder}".encode()
    ).hexdigest()
    table, kept = folder / "block_table.cc", folder / "stamp"
    if not (table.exists() and kept.exists() and kept.read_text() == stamp):
        command = [sys.executable, str(COMPILE_BLOCKS), str(folder)]
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise CannotBuildError(
                f"Triton {version} failed to compile the kernels for blocks "
                f"(KERAS_SPARSE_BUILD_GPU=0 leaves them out):\n{result.stderr[-2000:]}"
            )
        kept.write_text(stamp)
    return table, None


def empty_block_table(folder: Path, why: str) -> tuple[Path, str]:
    """The same without kernels."""
    folder.mkdir(parents=True, exist_ok=True)
    table, text = folder / "no_block_table.cc", NO_BLOCKS.format(why=why)
    if not table.exists() or table.read_text() != text:
        table.write_text(text)
    return table, why


def cuda_objects(scratch: Path) -> tuple[list[Path], list[str], str | None]:
    """(The object files of the kernels in CUDA, what they are linked with, why there are none)."""
    nvcc = shutil.which(os.environ.get("NVCC", "nvcc"))
    if nvcc is None or not gpu_enabled():
        return [], [], NO_NVCC if gpu_enabled() else LEFT_OUT
    command = [
        nvcc,
        "-ccbin",
        compiler()[0],
        *NVCC,
        *(part for code in CODES for part in ("-gencode", code)),
    ]
    with ThreadPoolExecutor(JOBS) as pool:
        sources = sorted((CODE / "cuda").glob("*.cu"))
        files = list(pool.map(lambda source: compiled(source, command, scratch), sources))
    return (
        files,
        [
            *library_folders(nvcc),
            "-lcudart_static",
            "-ldl",
            "-lrt",
            "-pthread",
            "-Wl,--exclude-libs,libcudart_static.a",
        ],
        None,
    )


def library_folders(nvcc: str) -> list[str]:
    """-L options: where the toolkit of this nvcc, which may be a script, has its libraries."""
    said = subprocess.run(
        [nvcc, "--dryrun", "-c", "-x", "cu", os.devnull],
        capture_output=True,
        text=True,
        check=False,
    ).stderr
    top, libraries = (re.search(pattern, said) for pattern in (r"TOP=(\S+)", r"LIBRARIES=(.*)"))
    folders = [f"-L{top[1]}/{name}" for name in ("lib64", "lib")] if top else []
    return [*folders, *(shlex.split(libraries[1]) if libraries else [])]


def gpu_record(why_no_blocks: str | None, why_no_cuda: str | None) -> dict[str, str | None]:
    """For keras_sparse/compute/library.py: why a part is not there, or None."""
    return {"blocks": why_no_blocks, "cuda_cores": why_no_cuda}


def report_missing(record: dict[str, str | None]) -> None:
    """One notice for those who have a GPU."""
    missing = {why for why in record.values() if why}
    if missing:
        sys.stderr.write(
            "NOTICE: keras-sparse is built without some of its kernels for GPUs; all for CPUs are "
            f"there: {'; '.join(sorted(missing))}.\n"
        )


def build_gpu(output: Path, scratch: Path, flags: Sequence[str]) -> Path:
    """The GPU's part as a library of its own, for tests and benchmarks without TensorFlow.

    Args:
        output: the folder of the library.
        scratch: the folder of the object files.
        flags: those of C++ files.
    """
    with cxx.exclusive(scratch):
        table, why_no_blocks = block_table(scratch)
        cuda, libraries, why_no_cuda = cuda_objects(scratch)
        report_missing(gpu_record(why_no_blocks, why_no_cuda))
        sources = [*sorted((CODE / "cuda").glob("*.cc")), *sorted((CODE / "triton").glob("*.cc"))]
        files = [
            *(compiled(source, [*compiler(), *flags], scratch) for source in [*sources, table]),
            *cuda,
        ]
        output.mkdir(parents=True, exist_ok=True)
        link(output / LIBRARY, [*compiler(), "-shared", *map(str, files), *libraries, "-ldl"])
        return output / LIBRARY
