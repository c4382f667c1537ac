"""What does a build need?  Beside setuptools TensorFlow, where a compiler is, unless the interpreter has it already.

Ops belong to one version of TensorFlow. So they are built against the one that is installed; where there is none, the
build gets the newest, which the installation then gets as well, from pip's cache.
"""

import re
import tomllib

from build_ops import ROOT, CannotBuildError, compiler, own_tensorflow, wish
from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 (the hooks that stay as they are)


def get_requires_for_build_wheel(config_settings: dict | None = None) -> list[str]:
    """For `pip install .` and `python -m build`."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *tensorflow()]


def get_requires_for_build_editable(config_settings: dict | None = None) -> list[str]:
    """For `pip install -e .`."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *tensorflow()]


def tensorflow() -> list[str]:
    """["tensorflow>=..."], as pyproject.toml says it, or [] if there is one that will stay, or nothing to compile with."""
    try:
        compiler()
    except CannotBuildError:
        return []
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirement = next(name for name in dependencies if name.startswith("tensorflow"))
    has = own_tensorflow()
    return [] if wish() == "0" or (has and numbers(has) >= numbers(requirement)) else [requirement]


def numbers(version: str) -> list[int]:
    """[2, 21, ...] of "2.21.0" and of "tensorflow>=2.21"."""
    return [int(number) for number in re.findall(r"\d+", version)]
