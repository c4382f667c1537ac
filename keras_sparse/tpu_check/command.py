"""Checks whether the training step of a function's model compiles for TPUs; prints a table."""

import argparse
from collections.abc import Callable
from typing import Any

import keras
from rich.table import Table

from keras_sparse.commands.named_function import function_named, parts_of
from keras_sparse.conversion.terminal import plain_console
from keras_sparse.rules.received import shown
from keras_sparse.tpu_check.batch import batch_of, resized
from keras_sparse.tpu_check.check import STAGES, Answers, check
from keras_sparse.tpu_check.fake_tpu import strategy
from keras_sparse.tpu_check.library import CannotLowerError, load

MEGA, GIGA = 2**20, 1e9


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns its exit code: 0 compiles, 1 rejected, 2 cannot run.

    Raises:
        ValueError: an argument is wrong; see ``function_named`` and ``made``.
    """
    parts_of(arguments.function)  # wrong words fail before anything is compiled
    try:
        load()
    except CannotLowerError as error:
        plain_console().print(f"Cannot run: {error}")
        return 2
    make = function_named(arguments.function)
    model, batch = made(make, arguments.replicas, arguments.batch)
    answers = check(model, batch, arguments.topology)
    plain_console().print(table(model.name, answers))
    return answers.code


def made(make: Callable[[], Any], replicas: int, batch: int) -> tuple[keras.Model, Any]:
    """The model and its batch from a function, called in the scope of a TPUStrategy.

    Raises:
        ValueError: the function returns neither a compiled model nor a model and two specs.
    """
    with strategy(replicas).scope():
        returned = make()
    model, specs = (
        returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    )
    if not isinstance(model, keras.Model) or not model.compiled:
        raise ValueError(
            "It must return a compiled Keras model, or (model, (inputs, targets)). "
            f"Received: {shown(returned)}"
        )
    return model, batch_of(model, batch) if specs is None else resized(specs, batch)


def table(name: str, answers: Answers) -> Table:
    """The table of all stages and their results."""
    rows = Table(
        "",
        f"{answers.replicas} x {answers.topology}",
        title=f"{name} on TPU",
        title_style="bold",
        show_lines=False,
    )
    for stage in STAGES:
        rows.add_row(stage, answers.said.get(stage, "not tried"))
    compiled = answers.compiled
    if compiled is not None and compiled.code == 0:
        rows.add_row(
            "memory per core",
            f"{compiled.memory / MEGA:,.1f} MiB, {compiled.temporary / MEGA:,.1f} MiB temporary",
        )
        rows.add_row("FLOPs per core and step", f"{compiled.flops / GIGA:,.3f} G")
        rows.add_row("all-reduces per step", str(compiled.all_reduces))
        rows.add_row("seconds to compile", f"{compiled.seconds:.1f}")
    return rows
