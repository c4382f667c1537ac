"""Checks arguments that are True or False (standard library only)."""

from typing import Any


def check_flags(**flags: Any) -> None:
    """Raises ValueError for the first argument that is not True or False.

    0, 1 and NumPy's bools count. Other values are as good as True to Python: "no" is.

    >>> check_flags(overwrite=False, verbose=1)
    """
    for name, value in flags.items():
        if not _is_flag(value):
            raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")


def check_verbose(verbose: Any) -> None:
    """Raises ValueError unless this is True, False or "auto"."""
    if verbose != "auto" and not _is_flag(verbose):
        raise ValueError(f'`verbose` must be True, False or "auto". Received: verbose={verbose!r}')


def _is_flag(value: Any) -> bool:
    return getattr(value, "shape", ()) == () and value in (False, True)
