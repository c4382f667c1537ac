"""The command line: ``python -m keras_sparse tpu-check module:function``."""

import argparse
import os
import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_sparse",
        description="Train neural networks in Keras 3 that are sparse from the first step.",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    from keras_sparse.tpu_check import command

    tpu_check = commands.add_parser(
        "tpu-check",
        help="check without a TPU whether a model's training step compiles for TPUs",
        description=command.__doc__,
    )
    command.add_arguments(tpu_check)
    tpu_check.set_defaults(run=command.run)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.exit(main())
