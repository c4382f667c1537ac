"""Reads the command line of a benchmark; its docstring is the help."""

import argparse


def parser(description: str | None) -> argparse.ArgumentParser:
    """A parser that keeps the lines of the description."""
    form = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=description, formatter_class=form)
