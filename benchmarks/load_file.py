"""Imports one Python file of the tests, which are no package."""

import importlib.util
from pathlib import Path
from types import ModuleType


def load_file(path: Path) -> ModuleType:
    """The module in this file."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"`path` must be a Python file. Received: path={path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
