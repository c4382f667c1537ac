"""The console of the commands' tables: as wide as the terminal, or wide in logs and pipes."""

import sys

from rich.console import Console

from keras_sparse.conversion.terminal import is_terminal, plain_console
from keras_sparse.models.summary_table import WIDTH_OF_A_LOG


def console() -> Console:
    """A console on stdout."""
    return plain_console(width=None if is_terminal(sys.stdout) else WIDTH_OF_A_LOG)
