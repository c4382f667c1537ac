"""Hides what TensorFlow prints while it is imported, before its log level has an effect."""

import contextlib
import os
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def hidden_messages() -> Iterator[None]:
    """Keeps standard error, also of C++ code, to itself; an exception prints all of it."""
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
