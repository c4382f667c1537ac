"""What a path argument becomes: a ``pathlib.Path`` (standard library only)."""

import os
from pathlib import Path
from typing import Any


def as_path(value: Any, name: str = "path") -> Path:
    """The path that was given.

    Args:
        value: a string or an ``os.PathLike``.
        name: of the argument, for the error.

    Raises:
        TypeError: anything else.
    """
    if not isinstance(value, str | os.PathLike):
        raise TypeError(f"`{name}` must be a path. Received: {name}={value!r}")
    return Path(value)
