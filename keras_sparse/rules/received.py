"""``received`` is how an error says what was given: in one short line (standard library only)."""

import re
from typing import Any

MOST = 200  # characters of an argument


def received(**arguments: Any) -> str:
    """The end of an error: the names of arguments and what they were.

    >>> received(density=1.5, scope="all")
    "Received: density=1.5, scope='all'"
    """
    return "Received: " + ", ".join(f"{name}={shown(value)}" for name, value in arguments.items())


def shown(value: Any) -> str:
    """A value in one line: its repr, or of a long one its beginning; of a large array its shape.

    >>> shown([1, 2]), shown(np.zeros((64, 64)))
    ('[1, 2]', 'ndarray of the shape (64, 64) and dtype float64')
    """
    text = re.sub(r"\s*\n\s*", " ", repr(value))
    if len(text) <= MOST:
        return text
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{kind} of the shape {value.shape} and dtype {value.dtype}"
    return f"{kind} {text[:MOST]}..."
