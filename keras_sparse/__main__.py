"""The command line: ``python -m keras_sparse COMMAND``; ``--help`` lists the commands."""

import importlib
import sys

from keras_sparse.commands.arguments import parser


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    chosen = parser().parse_args(arguments)
    try:
        return int(importlib.import_module(chosen.module).run(chosen))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
