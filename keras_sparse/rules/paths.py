"""A path argument becomes a ``pathlib.Path``, to which a file can be written (stdlib only)."""

import os
from pathlib import Path
from typing import Any

from keras_sparse.rules.received import received


def as_path(value: Any, name: str = "path") -> Path:
    """The path that was given.

    Args:
        value: a string or an ``os.PathLike``.
        name: of the argument, for the error.

    Raises:
        TypeError: anything else.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"`{name}` must be a path. {received(**{name: value})}")
    return Path(value)


def check_writable(path: Path) -> None:
    """Creates the folder of a file; OSError unless the file can be written: now, not later."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    trial = path.with_name(f"{path.name}.{os.getpid()}")
    trial.touch()
    trial.unlink(missing_ok=True)
