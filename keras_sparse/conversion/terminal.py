"""What is printed on: the console of all tables, and whether somebody sees it."""

from typing import Any, TextIO

from rich.console import Console


def is_terminal(stream: TextIO | None) -> bool:
    """Is it a terminal? A log or a pipe has no width.

    Args:
        stream: ``sys.stdout`` or ``sys.stderr``; None in a process that has neither, as a service.
    """
    return stream is not None and stream.isatty()


def plain_console(**settings: Any) -> Console:
    """A console that prints texts as they are: names may have brackets and colons.

    Args:
        **settings: of ``rich.console.Console``.
    """
    return Console(markup=False, emoji=False, **settings)
