"""The arguments of ``python -m keras_sparse``, read before TensorFlow is imported."""

import argparse
import os
import sys

from keras_sparse.commands.file_arguments import add_compare, add_export, add_inspect, add_report
from keras_sparse.commands.options import FUNCTION, add_json, add_threads, positive


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; ``module`` of what it returns names the module to run."""
    top = argparse.ArgumentParser(
        prog="python -m keras_sparse",
        description="Train neural networks in Keras 3 that are sparse from the first step.",
    )
    commands = top.add_subparsers(required=True, metavar="command")
    _add_tpu_check(commands)
    _add_tune(commands)
    _add_bench(commands)
    add_inspect(commands)
    add_compare(commands)
    add_export(commands)
    add_report(commands)
    return top


def answer_early() -> None:
    """Answers ``--help`` and wrong arguments of ``python -m keras_sparse``; ends the process then.

    Python imports the package, and TensorFlow with it, before it runs the command. So the package
    calls this first. In any other process nothing happens.
    """
    words = sys.orig_argv
    is_command = sys.argv[:1] == ["-m"] and "-m" in words
    if is_command and words[words.index("-m") + 1] == "keras_sparse":
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        parser().parse_args()


def _add_tpu_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "tpu-check",
        help="check without a TPU whether a model's training step compiles for TPUs",
        description="Checks whether the training step of a function's model compiles for TPUs; "
        "prints a table.",
        epilog="Exit codes: 0 it compiles, 1 it is rejected, 2 the check cannot run.",
    )
    command.set_defaults(module="keras_sparse.tpu_check.command")
    command.add_argument(
        "function",
        metavar=FUNCTION,
        help="a function without arguments; it returns a compiled Keras model, or (model, "
        "(inputs, targets)) with tf.TensorSpecs",
    )
    command.add_argument(
        "--topology",
        default="v5e:2x2",
        help='libtpu\'s name of the TPUs: "v4:2x2x1", "v5e:2x2", "v6e:2x4"',
    )
    command.add_argument("--replicas", type=int, default=4, help="number of cores to train on")
    command.add_argument("--batch", type=int, default=128, help="examples in all replicas together")


def _add_tune(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "tune",
        help="measure on this machine up to which density the custom ops are faster",
        description="Measures on this machine up to which density the custom ops for CPUs are "
        'faster than the dense ones, and writes a table that implementation="auto" reads from '
        "then on. It takes one to five minutes; let nothing else run meanwhile.",
        epilog="Exit codes: 0 the table is written, 2 it cannot be measured or written.",
    )
    command.set_defaults(module="keras_sparse.commands.tune")
    add_threads(command, "threads that TensorFlow computes with, as in your training")
    command.add_argument(
        "--output",
        metavar="FILE",
        help="file to write (default: one in the cache folder, which is found without a setting; "
        "for another one, set the variable KERAS_SPARSE_TUNING)",
    )
    add_json(command, "table")
    command.add_argument("--quick", action="store_true", help=argparse.SUPPRESS)  # for tests


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "bench",
        help="measure whether sparse layers are faster for a model, on this machine",
        description="Times a training step of a function's model with dense and with sparse "
        "layers, and each layer alone; prints a table. It takes a minute or more.",
        epilog="Exit codes: 0 steps with sparse layers are faster, 1 they are not, 2 they cannot "
        "be measured.",
    )
    command.set_defaults(module="keras_sparse.commands.bench")
    command.add_argument(
        "function",
        metavar=FUNCTION,
        help="a function without arguments; it returns a Keras model, or (model, (inputs, "
        "targets)) with tf.TensorSpecs",
    )
    command.add_argument(
        "--density",
        type=float,
        help="active / all masked weights (default: the masks that the model has, or the density "
        "of its SparseMomentum, or 0.1)",
    )
    command.add_argument("--batch", type=positive, default=128, help="examples in a step")
    add_threads(command, "threads that TensorFlow computes with")
    add_json(command, "figures")
