"""Options that several commands have."""

import argparse

FUNCTION = "module:function"


def add_json(command: argparse.ArgumentParser, what: str) -> None:
    """``--json``, which prints this as JSON."""
    command.add_argument("--json", action="store_true", help=f"print the {what} as JSON")


def add_threads(command: argparse.ArgumentParser, what: str) -> None:
    """``--threads``; the help begins with ``what``."""
    command.add_argument("--threads", type=positive, help=f"{what} (default: all cores)")


def add_import(command: argparse.ArgumentParser) -> None:
    """``--import``, which may be there several times."""
    command.add_argument(
        "--import",
        dest="modules",
        metavar="MODULE",
        action="append",
        default=[],
        help="a module that registers the model's own classes",
    )


def positive(text: str) -> int:
    """The type of an option that is a positive integer."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive integer, and is {text!r}")
    return int(text)
