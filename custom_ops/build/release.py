"""Makes the files of a release: an sdist, and a manylinux wheel with the ops, made from the sdist.

    python custom_ops/build/release.py                 # into dist/, then checks them
    python custom_ops/build/release.py --made          # only checks those in dist/
    python custom_ops/build/release.py --python 3.13   # ... by an installation into this Python

`make release-check` calls this. The wheel needs no compiler. It requires the very version of
TensorFlow that it was built with, since no other can load its ops. It needs the extra `release` of
pyproject.toml, and a C++ compiler.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from build_ops import LIBRARY, RECORD
from compile_files import ROOT
from release_check import check_contents, check_installed

TENSORFLOW_LIBRARIES = ("libtensorflow_framework.so.2", "libtensorflow_cc.so.2")


def run(*command: str | Path, **environment: str) -> None:
    """A tool of this environment, found beside its Python."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, **environment}
    subprocess.run([str(part) for part in command], check=True, env=given)


def build(output: Path) -> None:
    """The sdist, and from it a wheel for this very system; without the ops it fails."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", output, ROOT]
    run(*command, KERAS_SPARSE_BUILD_OPS="1")


def pin_tensorflow(wheel: Path, scratch: Path) -> Path:
    """The wheel with the requirement tensorflow==X.Y.Z in place of tensorflow>=X.Y."""
    run(sys.executable, "-m", "wheel", "unpack", "--dest", scratch / "unpacked", wheel)
    (folder,) = (scratch / "unpacked").iterdir()
    record = json.loads((folder / "keras_sparse" / "_ops" / RECORD).read_text())
    (metadata,) = folder.glob("*.dist-info/METADATA")
    lines = metadata.read_text(encoding="utf-8").split("\n")
    (at,) = (i for i, line in enumerate(lines) if line.startswith("Requires-Dist: tensorflow>="))
    lines[at] = f"Requires-Dist: tensorflow=={record['tensorflow']}"
    metadata.write_text("\n".join(lines), encoding="utf-8")
    run(sys.executable, "-m", "wheel", "pack", "--dest-dir", scratch, folder)
    (packed,) = scratch.glob("*.whl")
    return packed


def repair(wheel: Path, output: Path) -> None:
    """The wheel named after the oldest system that it runs on; TensorFlow's libraries stay out."""
    excluded = [part for name in TENSORFLOW_LIBRARIES for part in ("--exclude", name)]
    run(sys.executable, "-m", "auditwheel", "repair", *excluded, "--wheel-dir", output, wheel)


def make(dist: Path) -> None:
    """Both files, in an empty folder."""
    shutil.rmtree(dist, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        built, scratch = Path(name, "built"), Path(name, "scratch")
        build(built)
        (wheel,) = built.glob("*.whl")
        (sdist,) = built.glob("*.tar.gz")
        repair(pin_tensorflow(wheel, scratch), dist)
        shutil.copy(sdist, dist)


def main(arguments: Sequence[str] | None = None) -> None:
    """What the module's docstring says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--made", action="store_true", help="only check the files in dist/")
    parser.add_argument(
        "--python", action="append", help="a Python to install into; by default this one"
    )
    given, dist = parser.parse_args(arguments), ROOT / "dist"
    if not given.made:
        make(dist)
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    check_contents(wheel, sdist)
    for python in given.python or [sys.executable]:
        check_installed(wheel, sdist, python)
    print(f"{wheel.name} and {sdist.name} are as they should be: {LIBRARY} runs without a compiler")


if __name__ == "__main__":
    main()
