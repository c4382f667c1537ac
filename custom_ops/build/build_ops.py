"""Compiles the ops, with g++ or clang++, against the TensorFlow that they will run in.

    python custom_ops/build/build_ops.py          # into keras_sparse/_ops, only what has changed
    python custom_ops/build/build_ops.py --must   # a build that fails is an error, not a notice
    python custom_ops/build/build_ops.py --without-tensorflow   # only what needs none

The environment: CXX names the compiler; KERAS_SPARSE_BUILD_OPS=0 leaves the ops out, =1 is like
--must. build_gpu.py has more for GPUs. setup.py calls this. It needs Python, the compiler and
TensorFlow; for the GPU kernels nvcc and Triton, and no GPU.
"""

import argparse
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from build_gpu import (
    block_table,
    build_gpu,
    cuda_objects,
    empty_block_table,
    gpu_record,
    report_missing,
)
from compile_files import (
    CODE,
    JOBS,
    ROOT,
    CannotBuildError,
    Compilation,
    compiled,
    compiler,
    cxx,
    environments,
    is_older_than,
    link,
    run_python,
)
from compile_flags import COMMON, flags, sources, tensorflow_flags, without_machine_paths
from read_headers import Flags, read_once

LIBRARY, RECORD = (
    "libkeras_sparse_ops.so",
    "build.json",
)  # keras_sparse/compute/library.py knows these names
SLOWEST = ("xla_ops", "avx2", "avx512", "portable", "block_table")  # 10 seconds and more

# They print where TensorFlow is, and how to compile against it. The import takes seconds, so
# `tensorflow` keeps the answer.
WHICH = """
import importlib.metadata, importlib.util
print(importlib.metadata.version("tensorflow"), importlib.util.find_spec("tensorflow").origin)
"""
ASK = """
import json, tensorflow as tf
config = tf.sysconfig
flags = {"compile": config.get_compile_flags(), "link": config.get_link_flags()}
print("\\n" + json.dumps({"version": tf.__version__, **flags}))
"""


def build_mode() -> str:
    """What the environment asks for: "0" no ops, "1" ops or an error, "" ops where it can."""
    return os.environ.get("KERAS_SPARSE_BUILD_OPS", "")


def own_tensorflow() -> str | None:
    """The version of TensorFlow that this interpreter has outside of a build, or None."""
    found = run_python(WHICH, next(environments()))
    return found and found.split()[0]


def tensorflow(scratch: Path) -> dict[str, str | list[str]]:
    """Version, compile flags and link flags of TensorFlow."""
    for environment in environments():
        which = run_python(WHICH, environment)
        if which is None:
            continue
        kept = scratch / "tensorflow.json"
        if kept.exists() and (answer := json.loads(kept.read_text()))["which"] == which:
            return answer
        printed = run_python(ASK, environment)
        if printed is None:
            raise CannotBuildError(f"TensorFlow ({which}) cannot be imported")
        answer = {"which": which, **json.loads(printed.splitlines()[-1])}
        kept.write_text(json.dumps(answer))
        return answer
    raise CannotBuildError("TensorFlow is not installed")


def objects(scratch: Path, more: Sequence[str], tf: dict | None, table: Path) -> list[Path]:
    """The object files of the library; without TensorFlow those that need none.

    Args:
        scratch: the folder for them.
        more: flags for all files.
        tf: what ``tensorflow`` returns, or None.
        table: the source file with the kernels for blocks.
    """
    last: list[str] = []
    if any(flag.startswith("-fsanitize") for flag in more):
        last = ["-fno-sanitize=undefined"]  # g++ refuses Abseil's headers

    def command(source: Path) -> list[str]:
        if not _needs_tensorflow(source):
            return [*compiler(), *flags(source), *more]
        return [*compiler(), *flags(source), *tensorflow_flags(tf["compile"]), *more, *last]

    files = {}
    for source in [*sources(), table]:
        if tf or not _needs_tensorflow(source):
            stamp = tf["version"] if _needs_tensorflow(source) else ""
            files[source] = Compilation(source, command(source), scratch, stamp)
    due = sum(file.is_due for source, file in files.items() if _needs_tensorflow(source))
    any_file = command(CODE / "tensorflow" / "any.cc") if tf else []
    with read_once(any_file, due, scratch) as headers:
        return _compiled(files, headers)


def _needs_tensorflow(source: Path) -> bool:
    return source.parent.name == "tensorflow"


def _compiled(files: Mapping[Path, Compilation], headers: Flags) -> list[Path]:
    """The object files; ``headers``: for the files of tensorflow/ but XLA's, which come first."""

    def one(source: Path) -> Path:
        uses = _needs_tensorflow(source) and source.stem not in SLOWEST
        return files[source].done(headers if uses else list)

    slowest_first = sorted(files, key=lambda source: source.stem not in SLOWEST)
    with ThreadPoolExecutor(JOBS) as pool:
        return list(pool.map(one, slowest_first))


def build(
    output: Path,
    scratch: Path = ROOT / "build" / "custom_ops",
    more: Sequence[str] = (),
    travels: bool = False,
) -> None:
    """Compiles what has changed.

    Args:
        output: the folder of the library.
        scratch: the folder of the object files.
        more: flags for all files and the linker, such as those of a sanitizer.
        travels: whether the library goes into a wheel, where it names no path of this machine.
    """
    if platform.system() != "Linux":
        raise CannotBuildError(f"the ops are for Linux, and this is {platform.system()}")
    with cxx.exclusive(scratch):
        tf, command = tensorflow(scratch), compiler()
        more = [*more, *without_machine_paths(tf)] if travels else more
        table, why_no_blocks = block_table(scratch)
        cuda, libraries, why_no_cuda = cuda_objects(scratch)
        files = [*objects(scratch, more, tf, table), *cuda]
        gpu = gpu_record(why_no_blocks, why_no_cuda)
        output.mkdir(parents=True, exist_ok=True)
        told = [flag for flag in tf["compile"] if not flag.startswith("-I")]
        versions = {
            "tensorflow": tf["version"],
            "flags": told,
            "files": [file.stem for file in files],
            "compiler": shlex.join(command),
        }
        record = json.dumps({**versions, "gpu": gpu}, indent=1)
        library = output / LIBRARY
        if (
            is_older_than(library, files)
            or not (output / RECORD).exists()
            or (output / RECORD).read_text() != record
        ):
            link(
                library,
                [
                    *command,
                    "-shared",
                    *more,
                    *map(str, files),
                    *tf["link"],
                    "-l:libtensorflow_cc.so.2",
                    *libraries,
                    "-ldl",
                ],
            )
            (output / RECORD).write_text(record)
            report_missing(gpu)


def build_tests(
    scratch: Path = ROOT / "build" / "custom_ops", more: Sequence[str] = ()
) -> list[Path]:
    """The programs tests/*_test.cc, each linked with all files that need no TensorFlow."""
    with cxx.exclusive(scratch):
        table, _ = empty_block_table(scratch / "blocks", "these are tests")
        files, command, programs = objects(scratch, more, None, table), compiler(), []
        for source in sorted((CODE / "tests").glob("*_test.cc")):
            test = compiled(source, [*command, *flags(source), *more], scratch)
            programs.append(scratch / source.stem)
            link(programs[-1], [*command, *more, "-pthread", str(test), *map(str, files)])
        return programs


def build_without_tensorflow() -> None:
    """Compiles what needs no TensorFlow, while that is being installed: half of all work."""
    build_tests()
    scratch = ROOT / "build" / "custom_ops"
    with cxx.exclusive(scratch):
        cuda_objects(scratch)


def build_or_record_reason(output: Path, must: bool = False, travels: bool = False) -> None:
    """Builds, or records the reason and prints it: then the package uses the stock ops."""
    scratch = ROOT / "build" / ("wheel_ops" if travels else "custom_ops")
    try:
        if build_mode() == "0":
            raise CannotBuildError("KERAS_SPARSE_BUILD_OPS=0 was set")
        build(output, scratch, travels=travels)
    except CannotBuildError as why:
        if must or build_mode() == "1":
            raise
        output.mkdir(parents=True, exist_ok=True)
        (output / LIBRARY).unlink(missing_ok=True)
        (output / RECORD).write_text(json.dumps({"why_not": str(why)}, indent=1) + "\n")
        sys.stderr.write(
            "NOTICE: keras-sparse is installed without its compiled ops, and uses the stock ones: "
            f"{why}.\n"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--must", action="store_true", help="fail where the ops cannot be built")
    parser.add_argument(
        "--gpu",
        type=Path,
        metavar="FOLDER",
        help="build the GPU's part alone, without TensorFlow, into this folder",
    )
    parser.add_argument(
        "--without-tensorflow",
        action="store_true",
        help="compile what needs no TensorFlow: no library, but a later build takes half the time",
    )
    arguments = parser.parse_args()
    try:
        if arguments.without_tensorflow:
            build_without_tensorflow()
        elif arguments.gpu:
            print(build_gpu(arguments.gpu, ROOT / "build" / "custom_ops", COMMON))
        else:
            build_or_record_reason(ROOT / "keras_sparse" / "_ops", arguments.must)
    except CannotBuildError as why:
        sys.exit(f"The ops cannot be built: {why}")
