"""The command line: ``python -m keras_sparse COMMAND``; ``--help`` lists the commands."""

import importlib
import io
import os
import sys
import traceback

from keras_sparse.commands.arguments import parser


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code.

    It is 2 after any error: 1 is the answer of ``compare``, ``bench`` and ``tpu-check`` that
    weights differ, steps are not faster or a step does not compile.
    """
    _make_printable()
    chosen = parser().parse_args(arguments)
    try:
        return int(importlib.import_module(chosen.module).run(chosen))
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
    except Exception:  # of the user's own function, or a fault of ours
        traceback.print_exc()
    return 2


def _make_printable() -> None:
    """Names may have letters that stdout has not, and a service has no stdout."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (while the process runs)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
