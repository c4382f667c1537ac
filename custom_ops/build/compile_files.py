"""Compiles one file, and links many: only what has changed. What fails says so in one sentence."""

import dataclasses
import importlib.util
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "custom_ops"
JOBS = 2  # at a time; XLA's headers take a GB


class CannotBuildError(Exception):
    """What is missing, in one sentence."""


def load_cxx() -> ModuleType:
    """The module that finds the compiler, by its path: to import the package takes TensorFlow."""
    spec = importlib.util.spec_from_file_location(
        "cxx", ROOT / "keras_sparse" / "tpu_check" / "cxx.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cxx = load_cxx()


def compiler() -> list[str]:
    """The command that compiles C++."""
    command = cxx.compiler()
    if command is None:
        raise CannotBuildError(
            f"no C++ compiler was found (CXX={os.environ.get('CXX', '')!r}, g++, clang++)"
        )
    return command


def environments() -> Iterator[dict[str, str]]:
    """This interpreter's own packages, which a pip build hides; then those of the build."""
    quiet = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3", "TRITON_INTERPRET": "0"}
    yield {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | quiet
    yield dict(os.environ) | quiet


def run_python(code: str, environment: dict[str, str]) -> str | None:
    """What the code prints, in an environment; None if it fails."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() if result.returncode == 0 else None


def is_up_to_date(target: Path, command: Sequence[str]) -> bool:
    """Whether this very command made the target, after the last change of all that it reads."""
    record, dependencies = target.with_suffix(".command"), target.with_suffix(".d")
    if not (
        target.exists()
        and record.exists()
        and dependencies.exists()
        and record.read_text() == shlex.join(command)
    ):
        return False
    files = dependencies.read_text().replace("\\\n", " ").split(":", 1)[1].split()
    return all(
        os.path.exists(file) and os.path.getmtime(file) < target.stat().st_mtime for file in files
    )


@dataclasses.dataclass(frozen=True)
class Compilation:
    """One source file and its object file.

    Attributes:
        source: the file.
        compiler: its command and its flags.
        scratch: the folder of the object file.
        stamp: of what the command does not show.
    """

    source: Path
    compiler: Sequence[str]
    scratch: Path
    stamp: str = ""

    @property
    def target(self) -> Path:
        """The object file."""
        return self.scratch / f"{self.source.parent.name}.{self.source.stem}.o"

    @property
    def command(self) -> list[str]:
        """What is run, without flags that make no difference to the object file."""
        reads = ["-MMD", "-MF", str(self.target.with_suffix(".d"))]
        return [*self.compiler, *reads, "-c", str(self.source), "-o", str(self.target)]

    @property
    def is_due(self) -> bool:
        """Whether the object file is missing, or older than what it is made of."""
        return not is_up_to_date(self.target, [*self.command, self.stamp])

    def done(self, quicker: Callable[[], list[str]] = list) -> Path:
        """The object file, compiled if it is due; ``quicker``: more flags, asked for only then."""
        if self.is_due:
            more, begin = quicker(), time.time()
            run([*self.command, *more])
            os.utime(self.target, (begin, begin))  # what changes while the compiler runs is newer
            self.target.with_suffix(".command").write_text(shlex.join([*self.command, self.stamp]))
        return self.target


def compiled(source: Path, command: Sequence[str], scratch: Path) -> Path:
    """The object file of a source file."""
    return Compilation(source, command, scratch).done()


def run(command: Sequence[str]) -> None:
    """Runs a compiler; CannotBuildError with what it says, if it fails."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise CannotBuildError(f"`{shlex.join(command)}` failed:\n{result.stderr[:4000]}")


def is_older_than(target: Path, files: Sequence[Path]) -> bool:
    """Or not there at all."""
    return not target.exists() or any(
        file.stat().st_mtime >= target.stat().st_mtime for file in files
    )


def link(target: Path, command: Sequence[str]) -> None:
    """Puts the target in its place at once: a process that has the old one open keeps it."""
    new = target.with_suffix(".new")
    run([*command, "-o", str(new)])
    new.replace(target)
