"""``is_terminal`` says whether what is printed is seen: a log or a pipe has no width."""

from typing import TextIO


def is_terminal(stream: TextIO | None) -> bool:
    """Is it a terminal?

    Args:
        stream: ``sys.stdout`` or ``sys.stderr``; None in a process that has neither, as a service.
    """
    return stream is not None and stream.isatty()
