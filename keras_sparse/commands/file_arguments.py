"""The arguments of the commands that read saved models: inspect, compare, export, report."""

import argparse

from keras_sparse.commands.options import FUNCTION, add_import, add_json, add_threads, positive

EXPORT_FORMATS = ("saved_model", "litert", "onnx", "openvino", "keras")  # of ks.export
FILE = "a .keras file, one of ks.save_compressed, an .h5 or .tflite file, or a SavedModel's folder"


def add_inspect(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """``inspect FILE``."""
    command = commands.add_parser(
        "inspect",
        help="show the density, structure and dead channels of each weight in a file",
        description="Prints a table of the weights in a file, and its size as it is and zipped. "
        "Optimizers and masks have no rows.",
        epilog="Exit codes: 0 done, 2 the file cannot be read.",
    )
    command.set_defaults(module="keras_sparse.commands.inspect")
    command.add_argument("file", help=FILE)
    add_json(command, "figures")


def add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """``compare FILE OTHER``."""
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
    add_json(command, "figures")


def add_export(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """``export FILE``."""
    command = commands.add_parser(
        "export",
        help="write a saved model for another runtime, and check the file there",
        description="Writes the model in a file for another runtime, in stock operations, without "
        "masks. Its own runtime reads it back and must predict the same. Prints sizes.",
        epilog="Exit codes: 0 done, 2 the file cannot be read or written; then nothing is.",
    )
    command.set_defaults(module="keras_sparse.commands.export")
    command.add_argument(
        "file", help="a .keras file, one of ks.save_compressed, or an .h5 file of a model"
    )
    command.add_argument("--format", required=True, choices=EXPORT_FORMATS, help="what to write")
    _add_export_options(command)
    command.add_argument("--overwrite", action="store_true", help="replace what is at PATH")
    add_json(command, "report")


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
    add_import(command)


def add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """``report FILE``."""
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
        "--batch", type=positive, help="examples in a step, for what runs (default: any)"
    )
    _add_report_options(command)
    add_import(command)


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
    add_threads(command, "threads to measure with")
