"""The arguments of ``python -m keras_sparse``, read before TensorFlow is imported."""

import argparse
import os
import sys

FUNCTION = "module:function"
EXPORT_FORMATS = ("saved_model", "litert", "onnx", "openvino", "keras")  # of ks.export


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
    _add_inspect(commands)
    _add_compare(commands)
    _add_export(commands)
    _add_report(commands)
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
        "then on. It takes about a minute; let nothing else run meanwhile.",
        epilog="Exit codes: 0 the table is written, 2 it cannot be measured or written.",
    )
    command.set_defaults(module="keras_sparse.commands.tune")
    command.add_argument(
        "--threads",
        type=_positive,
        help="threads that TensorFlow computes with, as in your training (default: all cores)",
    )
    command.add_argument(
        "--output",
        metavar="FILE",
        help="file to write (default: one in the cache folder, which is found without a setting; "
        "for another one, set the variable KERAS_SPARSE_TUNING)",
    )
    command.add_argument("--json", action="store_true", help="print the table as JSON")
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
    command.add_argument("--batch", type=_positive, default=128, help="examples in a step")
    command.add_argument(
        "--threads",
        type=_positive,
        help="threads that TensorFlow computes with (default: all cores)",
    )
    command.add_argument("--json", action="store_true", help="print the figures as JSON")


FILE = "a .keras file, one of ks.save_compressed, an .h5 or .tflite file, or a SavedModel's folder"


def _add_inspect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "inspect",
        help="show the density, structure and dead channels of each weight in a file",
        description="Prints a table of the weights in a file, and its size as it is and zipped. "
        "Optimizers and masks have no rows.",
        epilog="Exit codes: 0 done, 2 the file cannot be read.",
    )
    command.set_defaults(module="keras_sparse.commands.inspect")
    command.add_argument("file", help=FILE)
    command.add_argument("--json", action="store_true", help="print the figures as JSON")


def _add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "compare",
        help="show where the weights in two files differ",
        description="Prints a table of the weights in two files, of the same format or not: both "
        "densities, the share of weights that are zero in both or nonzero in both, and the largest "
        "difference.",
        epilog="Exit codes: 0 the weights are equal, 1 they differ, 2 a file cannot be read.",
    )
    command.set_defaults(module="keras_sparse.commands.compare")
    command.add_argument("file", help=FILE)
    command.add_argument("other", help="another one")
    command.add_argument(
        "--tolerance", type=float, default=0.0, help="differences up to it are equal (default: 0)"
    )
    command.add_argument("--json", action="store_true", help="print the figures as JSON")


def _add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "export",
        help="write a saved model for another runtime, and check the file there",
        description="Writes the model in a file for another runtime, in stock operations, without "
        "masks. Its own runtime reads it back and must predict the same. Prints sizes.",
        epilog="Exit codes: 0 done, 2 the file cannot be read or written; then nothing is.",
    )
    command.set_defaults(module="keras_sparse.commands.export")
    command.add_argument("file", help="a .keras file or one of ks.save_compressed")
    command.add_argument("--format", required=True, choices=EXPORT_FORMATS, help="what to write")
    _add_export_options(command)
    command.add_argument("--overwrite", action="store_true", help="replace what is at PATH")
    command.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_export_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--output",
        metavar="PATH",
        help="file or folder to write (default: beside FILE, with the format's suffix)",
    )
    command.add_argument(
        "--dtype",
        default="float32",
        choices=("float32", "float16", "int8"),
        help="what weights are stored in; the others than float32 for litert (default: float32)",
    )
    command.add_argument(
        "--sample",
        metavar="FILE.npy",
        help="inputs to compare predictions on, needed for int8 (default: random ones)",
    )
    _add_import(command)


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "report",
        help="write an HTML page about the sparsity of a saved model",
        description="Writes one HTML file that opens offline: density, multiply-adds and dead "
        "channels of each weight, masks as pictures, and histograms. Prints its path.",
        epilog="Exit codes: 0 done, 2 a file cannot be read or written.",
    )
    command.set_defaults(module="keras_sparse.commands.report")
    command.add_argument("file", help=FILE)
    command.add_argument(
        "--output",
        metavar="PATH.html",
        help="file to write; it may replace an earlier report (default: beside FILE)",
    )
    command.add_argument(
        "--batch", type=_positive, help="examples in a step, for what runs (default: any)"
    )
    _add_report_options(command)
    _add_import(command)


def _add_report_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--log",
        metavar="FILE.csv",
        help="file of keras.callbacks.CSVLogger, for the density over the training",
    )
    command.add_argument(
        "--model",
        metavar=FUNCTION,
        help="a function without arguments that returns the Keras model of a weight file",
    )
    command.add_argument(
        "--measure", action="store_true", help="also time a training step and each layer, at BATCH"
    )
    command.add_argument(
        "--threads", type=_positive, help="threads to measure with (default: all cores)"
    )


def _add_import(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--import",
        dest="modules",
        metavar="MODULE",
        action="append",
        default=[],
        help="a module that registers the model's own classes",
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a positive integer, and is {text!r}")
    return int(text)
