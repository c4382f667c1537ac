"""One line in a terminal that says what a long operation does; nothing elsewhere."""

import contextlib
import contextvars
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

import keras
from rich.console import Console
from rich.control import Control
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import ControlType

from keras_sparse.conversion.terminal import is_terminal

Item = TypeVar("Item")
DELAY = 1.0  # seconds; what is done by then shows nothing


class Line:
    """What an operation says of itself; this one shows nothing, and is for all but terminals."""

    def says(self, text: str) -> None:
        """What is done now, such as ``"reading the file"``."""

    def each(self, items: Iterable[Item], total: int) -> Iterator[Item]:
        """The items, of which there are ``total``; the line counts them."""
        yield from items


class _LineOfTerminal(Line):
    """The line that rich draws on stderr from the first second on, and removes at the end."""

    def __init__(self, what: str, console: Console) -> None:
        self._what, self._console = what, console
        columns = (
            TextColumn("{task.description}", markup=False),  # names may have brackets
            BarColumn(),
            TextColumn("{task.fields[counted]}"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(what, total=None, counted="")
        self._lock, self._is_over = threading.Lock(), False
        self._timer = threading.Timer(DELAY, self._start)
        self._timer.daemon = True
        self._timer.start()

    def says(self, text: str) -> None:
        self._progress.update(self._task, description=f"{self._what}: {text}")

    def each(self, items: Iterable[Item], total: int) -> Iterator[Item]:
        for number, item in enumerate(items):
            counted = f"{number}/{total}"
            self._progress.update(self._task, total=total, completed=number, counted=counted)
            yield item
        self._progress.tasks[0].total = None
        self._progress.update(self._task, counted="")

    def end(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            self._progress.stop()

    def _start(self) -> None:
        with self._lock:
            if not self._is_over:
                # a progress bar of Keras may be on this line; it draws all of itself each time
                self._console.control(
                    Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2))
                )
                self._progress.start()


_shown: contextvars.ContextVar[Line | None] = contextvars.ContextVar("_shown", default=None)


@contextlib.contextmanager
def progress(what: str, verbose: object = True) -> Iterator[Line]:
    """Shows that an operation runs while its body does, if it takes longer than a second.

    Only a terminal shows it: not files and pipes, notebooks and doctests. An operation within the
    body has the same line. ``keras.config.disable_interactive_logging()`` silences all.

    Args:
        what: name of the operation.
        verbose: False or 0: nothing is shown.

    >>> with progress("counting") as line:
    ...     sum(line.each(range(4), total=4))
    6
    """
    outer = _shown.get()
    line = (_new_line(what) if verbose else Line()) if outer is None else outer
    token = _shown.set(line)
    try:
        yield line
    finally:
        _shown.reset(token)
        if outer is None and isinstance(line, _LineOfTerminal):
            line.end()


def current() -> Line:
    """The line of the operation that runs now; one that shows nothing, if none runs."""
    return _shown.get() or Line()


def _new_line(what: str) -> Line:
    # rich alone takes any file for a terminal where FORCE_COLOR is set
    if not (is_terminal(sys.stderr) and keras.config.is_interactive_logging_enabled()):
        return Line()
    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:  # a notebook is none
        return Line()
    return _LineOfTerminal(what, console)
