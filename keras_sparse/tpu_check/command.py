"""What does ``python -m keras_sparse tpu-check`` do?  It makes the model that a function returns, asks, and prints a table."""

import argparse
import importlib
from collections.abc import Callable
from typing import Any

import keras
from rich.console import Console
from rich.table import Table

from keras_sparse.tpu_check.batch import batch_of, resized
from keras_sparse.tpu_check.check import STAGES, Answers, check
from keras_sparse.tpu_check.fake_tpu import strategy
from keras_sparse.tpu_check.library import CannotLowerError, load

MEGA, GIGA = 2**20, 1e9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares what the command takes."""
    parser.add_argument(
        "function",
        metavar="module:function",
        help="takes nothing; returns a compiled Keras model, or (model, (inputs, targets)) of tf.TensorSpecs",
    )
    parser.add_argument(
        "--topology",
        default="v5e:2x2",
        help='the TPUs, as libtpu calls them: "v4:2x2x1", "v5e:2x2", "v6e:2x4"',
    )
    parser.add_argument("--replicas", type=int, default=4, help="on as many of their cores")
    parser.add_argument("--batch", type=int, default=128, help="examples of all replicas together")


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; the exit code: 0 compiles, 1 rejected, 2 cannot run.

    Raises:
        ValueError: arguments that cannot be meant.
    """
    try:
        load()
    except CannotLowerError as error:
        Console().print(f"Cannot run: {error}", markup=False)
        return 2
    make = function_named(arguments.function)
    model, batch = made(make, arguments.replicas, arguments.batch)
    answers = check(model, batch, arguments.topology)
    Console().print(table(model.name, answers))
    return answers.code


def function_named(name: str) -> Callable[[], Any]:
    """The function that "module:function" names.

    Raises:
        ValueError: there is no such module or function.
    """
    module, colon, function = name.partition(":")
    if not (module and colon and function):
        raise ValueError(
            f'Name a function as "module:function", e.g. "train:make_model". Received: {name!r}'
        )
    try:
        found = getattr(importlib.import_module(module), function, None)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"The module {error.name!r} is not found. Start the command where it can be imported. Received: {name!r}"
        ) from error
    if not callable(found):
        raise ValueError(f"The module {module!r} has no function {function!r}. Received: {name!r}")
    return found


def made(make: Callable[[], Any], replicas: int, batch: int) -> tuple[keras.Model, Any]:
    """(model, batch) of a function, called in the scope of a TPUStrategy.

    Raises:
        ValueError: it returns anything else than a compiled model, or a model and two specs.
    """
    with strategy(replicas).scope():
        returned = make()
    model, specs = (
        returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    )
    if not isinstance(model, keras.Model) or not model.compiled:
        raise ValueError(
            f"The function must return a compiled Keras model, or (model, (inputs, targets)). Received: {returned!r}"
        )
    return model, batch_of(model, batch) if specs is None else resized(specs, batch)


def table(name: str, answers: Answers) -> Table:
    """Answers as a table: what is asked, and what is said."""
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
            f"{compiled.memory / MEGA:,.1f} MiB, of which {compiled.temporary / MEGA:,.1f} temporary",
        )
        rows.add_row("FLOPs per core and step", f"{compiled.flops / GIGA:,.3f} G")
        rows.add_row("all-reduces per step", str(compiled.all_reduces))
        rows.add_row("seconds to compile", f"{compiled.seconds:.1f}")
    return rows
