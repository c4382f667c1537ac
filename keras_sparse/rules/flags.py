"""Checks arguments that are True or False, or one of a few words (standard library only)."""

from typing import Any

from keras_sparse.rules.received import received


def check_flags(**flags: Any) -> None:
    """Raises ValueError for the first argument that is not True or False.

    0, 1 and NumPy's bools count. Other values are as good as True to Python: "no" is.

    >>> check_flags(overwrite=False, verbose=1)
    """
    for name, value in flags.items():
        if not _is_flag(value):
            raise ValueError(f"`{name}` must be True or False. {received(**{name: value})}")


def check_verbose(verbose: Any) -> None:
    """Raises ValueError unless this is True, False or "auto"."""
    if not (_is_flag(verbose) or is_word(verbose, "auto")):
        raise ValueError(f'`verbose` must be True, False or "auto". {received(verbose=verbose)}')


def check_word(name: str, value: Any, *words: str | None) -> None:
    """Raises ValueError unless the argument of this name is one of these words.

    >>> check_word("scope", "global", "layer", "global")
    """
    if not any(value is None if word is None else is_word(value, word) for word in words):
        *others, last = ["None" if word is None else f'"{word}"' for word in words]
        rule = f"{', '.join(others)} or {last}" if others else last
        raise ValueError(f"`{name}` must be {rule}. {received(**{name: value})}")


def is_word(value: Any, word: str) -> bool:
    """Is it this string? An array compares each of its elements, and is no answer."""
    return isinstance(value, str) and value == word


def _is_flag(value: Any) -> bool:
    return getattr(value, "shape", ()) == () and value in (False, True)
