"""``report`` writes one HTML file about a saved model, or about the weights in a file."""

import argparse
import csv
import dataclasses
import sys
from pathlib import Path

import keras

from keras_sparse.commands.inspect import existing
from keras_sparse.commands.named_function import function_named
from keras_sparse.commands.saved_models import has_model, import_modules, load
from keras_sparse.commands.threads import set_threads
from keras_sparse.models.file_report import sizes_of
from keras_sparse.models.plots import Recorded, recorded
from keras_sparse.reporting.content import Content
from keras_sparse.reporting.file_content import of_file
from keras_sparse.reporting.model_content import of_model
from keras_sparse.reporting.report import check_report_path, write_report
from keras_sparse.rules.received import shown
from keras_sparse.training.density_log import DENSITY, EXPLORATION_RATE

LOGGED = (DENSITY, EXPLORATION_RATE)


def run(arguments: argparse.Namespace) -> int:
    """Runs the command and returns its exit code.

    Raises:
        ValueError: a file is missing or damaged, or an argument is wrong.
    """
    path = existing(arguments.file)
    place = check_report_path(arguments.output or path.with_suffix(".html"))
    if arguments.measure:
        if arguments.batch is None:
            raise ValueError("`--measure` needs the batch to measure: pass --batch")
        set_threads(arguments.threads)
    import_modules(arguments.modules)
    trained = None if arguments.log is None else _logged(existing(arguments.log))
    model, why = _model(path, arguments.model)
    if model is not None:
        content = of_model(model, trained, batch=arguments.batch, measure=arguments.measure)
        content = _with_file(content, path, why)
    else:
        content = dataclasses.replace(_of_weights(path, arguments), recorded=trained)
    sys.stdout.write(f"{write_report(content, place)}\n")
    return 0


def _model(path: Path, function: str | None) -> tuple[keras.Model | None, str | None]:
    """The model of the file, or of the function; None if there is none."""
    if function is None:
        return load(path) if has_model(path) else (None, None)
    model = function_named(function)()
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"The function of `--model` must return a Keras model. Received: {shown(model)}"
        )
    try:
        model.load_weights(path)
    except Exception as error:  # Keras raises anything
        raise ValueError(
            f"The weights do not fit the model of {function}: {error} Received: {path}"
        ) from error
    return model, None


def _of_weights(path: Path, arguments: argparse.Namespace) -> Content:
    """The content for a file without a model."""
    if arguments.batch is not None or arguments.measure:
        raise ValueError(
            "`--batch` and `--measure` need a model, and the file has weights alone: pass --model "
            f"module:function. Received: {path}"
        )
    return of_file(path)


def _with_file(content: Content, path: Path, why: str | None) -> Content:
    """The content with the file's sizes, and with what could not be loaded."""
    sizes, notes = sizes_of(path), list(content.notes)
    if why is not None:
        notes.append(
            "The optimizer, loss and metrics of the file cannot be loaded, so the masks are those "
            f"of sparse layers and of nonzero weights: {why}"
        )
    file = {"of the file": sizes.bytes, "of the file after zip": sizes.bytes_zipped}
    return dataclasses.replace(content, sizes={**content.sizes, **file}, notes=notes)


def _logged(path: Path) -> Recorded:
    """What a file of Keras' CSVLogger recorded.

    Raises:
        ValueError: it has no column of a density.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in (rows[0] if rows else {}) if _kind(name) in LOGGED]
        found = {name: [float(row[name]) for row in rows] for name in names}
    except (ValueError, TypeError, csv.Error):  # bytes, a word or a short row
        found = {}
    if DENSITY not in map(_kind, found):
        raise ValueError(
            "`--log` must name a file of keras.callbacks.CSVLogger from a training with "
            f"UpdateMasks, with a column density. Received: {path}"
        )
    return recorded(found)


def _kind(name: str | None) -> str:
    """The kind of a column: that of "density/net/kernel" and "mask_density" is "density"."""
    return (name or "").split("/")[0].removeprefix("mask_")
