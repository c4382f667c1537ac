"""Builds the package that pyproject.toml describes, with ops from custom_ops/build/build_ops.py."""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "custom_ops" / "build"))
from build_ops import LIBRARY, RECORD, build_or_record_reason  # noqa: E402


class BuildOps(build_ext):
    """Gives setuptools the ops as files: they are not a Python extension."""

    def folder(self) -> Path:
        """Beside the sources for an editable installation, else where the wheel is put together."""
        return (ROOT if self.inplace else Path(self.build_lib).resolve()) / "keras_sparse" / "_ops"

    def run(self) -> None:
        build_or_record_reason(self.folder(), travels=not self.inplace)

    def get_outputs(self) -> list[str]:
        return [str(file) for name in (LIBRARY, RECORD) if (file := self.folder() / name).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return []  # MANIFEST.in names them


class Wheel(bdist_wheel):
    """A wheel for every Python of its platform: the ops belong to TensorFlow, not to Python."""

    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


# The extension stands for the ops: with it a wheel belongs to its platform.
setup(
    ext_modules=[Extension("keras_sparse._ops", sources=[])],
    cmdclass={"build_ext": BuildOps, "bdist_wheel": Wheel},
)
