"""``export`` writes a saved model for another runtime by ``ks.export``."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from keras_sparse.commands.inspect import existing
from keras_sparse.commands.output import console
from keras_sparse.commands.saved_models import import_modules, load_alone
from keras_sparse.conversion.progress import progress
from keras_sparse.exporting.export import export
from keras_sparse.exporting.formats import FORMATS
from keras_sparse.exporting.report import ExportReport


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns its exit code.

    Raises:
        ValueError: the file is missing or damaged, an argument is wrong, or the model cannot be
            written in the format.
    """
    path = existing(arguments.file)
    import_modules(arguments.modules)
    with progress("export"):
        report = _exported(path, arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(report.as_dict(), indent=1) + "\n")
    else:
        report.print_to(console())
    return 0


def _exported(path: Path, arguments: argparse.Namespace) -> ExportReport:
    sample = None if arguments.sample is None else _sample(existing(arguments.sample))
    model = load_alone(path)
    try:
        return export(
            model,
            arguments.output or _place(path, arguments.format),
            arguments.format,
            dtype=arguments.dtype,
            sample=sample,
            overwrite=arguments.overwrite,
            verbose=False,
        )
    except (ImportError, RuntimeError) as error:
        raise ValueError(str(error)) from error


def _sample(path: Path) -> np.ndarray:
    """The array in a .npy file; ValueError for anything else."""
    try:
        found = np.load(path)
    except (ValueError, EOFError, OSError) as error:
        why = str(error)
    else:
        if isinstance(found, np.ndarray):
            return found
        why = "it is a file of several arrays"
    raise ValueError(f"`--sample` must name a .npy file of one array: {why}. Received: {path}")


def _place(path: Path, name: str) -> Path:
    """Beside the file: ``model.keras`` becomes ``model.onnx``, or the folder ``model``."""
    suffix = FORMATS[name].suffix or (".onnx" if name == "onnx" else "")
    return path.with_suffix(suffix)
