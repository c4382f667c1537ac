"""The requirements of a build: setuptools, and TensorFlow where it is not there to compile with.

Ops belong to one version of TensorFlow, so they are built against the one that is installed. Where
there is none, the build gets the newest; the installation then gets the same from pip's cache.
"""

import re
import tomllib

from build_ops import ROOT, CannotBuildError, build_mode, compiler, own_tensorflow
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (the hooks that stay as they are)


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    """For `pip install .` and `python -m build`."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *tensorflow()]


def get_requires_for_build_editable(config_settings: dict | None = None) -> list[str]:
    """For `pip install -e .`."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *tensorflow()]


def tensorflow() -> list[str]:
    """["tensorflow>=..."] of pyproject.toml; [] with one that will stay, or without a compiler."""
    try:
        compiler()
    except CannotBuildError:
        return []
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirement = next(name for name in dependencies if name.startswith("tensorflow"))
    has = own_tensorflow()
    is_needed = not has or numbers(has) < numbers(requirement)
    return [requirement] if is_needed and build_mode() != "0" else []


def numbers(version: str) -> list[int]:
    """[2, 21, ...] of "2.21.0" and of "tensorflow>=2.21"."""
    return [int(number) for number in re.findall(r"\d+", version)]
