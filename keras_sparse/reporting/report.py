"""``report(model_or_history, path)`` writes one HTML file about the sparsity of a model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_sparse._keras import check_keras_3
from keras_sparse.exporting.place import beside
from keras_sparse.models.plots import History, Recorded, recorded
from keras_sparse.reporting.content import Content
from keras_sparse.reporting.elements import GENERATOR
from keras_sparse.reporting.layout import html_of
from keras_sparse.reporting.model_content import of_model
from keras_sparse.rules.flags import check_flags
from keras_sparse.rules.paths import as_path, check_writable
from keras_sparse.rules.received import received
from keras_sparse.training.callbacks import UpdateMasks

HEAD = 2000  # characters of a file in which a report names its generator
SUBJECTS = (
    "`model_or_history` must be a Keras model, the UpdateMasks callback, the result of `fit`, or "
    "the `history` of one of them. Load a file first, or run `python -m keras_sparse report FILE`. "
)


def report(
    model_or_history: keras.Model | History,
    path: str | Path = "report.html",
    *,
    history: History | None = None,
    input_shape: Any = None,
    batch: int | None = None,
    measure: bool = False,
) -> Path:
    """Writes one HTML file that opens in any browser, offline, on light and dark screens.

    It shows the figures of ``summary``, and for each masked weight its mask as a picture, a
    histogram of its active values, its structure and its size. With a history, it also shows the
    density over the training. Large masks are reduced to at most 256 x 256 cells, which keep the
    density.

    Args:
        model_or_history: a built Keras model; or the UpdateMasks callback or the result of ``fit``,
            for their model and its training; or the ``history`` of one of them, for the training
            alone. The result of ``fit`` has the density of each layer with
            ``UpdateMasks(log_layers=True)``.
        path: file to write; its name ends in ".html". It may replace an earlier report.
        history: the history of a model's training, as in ``plot_history``.
        input_shape: as in ``summary``.
        batch: number of examples, for what runs, as in ``summary``.
        measure: True: times a training step, its parts and each sparse layer on this machine, on
            copies of the model and random data. It needs ``batch``, and takes seconds to minutes.

    Returns:
        The path of the file.

    Raises:
        TypeError: ``model_or_history`` or ``history`` is none of these.
        ValueError: ``path`` names no .html file in an existing folder, or another file is there;
            no density was recorded; or an argument does not fit, as in ``summary``.
        OSError: nobody may write there; nothing is measured then.

    >>> import pathlib, tempfile
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> path = report(model, pathlib.Path(tempfile.mkdtemp(), "report.html"))
    >>> path.read_text()[:15]
    '<!DOCTYPE html>'
    """
    check_flags(measure=measure)
    place = check_report_path(path)
    model, trained = _subject(model_or_history, history)
    if model is None and (measure or batch is not None or input_shape is not None):
        raise ValueError(
            "`measure`, `batch` and `input_shape` are for reports of a model, and there is none. "
            f"{received(measure=measure, batch=batch, input_shape=input_shape)}"
        )
    if measure and batch is None:
        raise ValueError("`batch` must be set if `measure` is. Received: batch=None")
    if model is not None:
        content = of_model(model, trained, input_shape, batch, measure)
    else:
        content = Content(name="a training", recorded=trained)
    return write_report(content, place)


def _subject(given: Any, history: Any) -> tuple[keras.Model | None, Recorded | None]:
    """The model and what was recorded of its training; one of them may be None."""
    check_keras_3(given, "model_or_history")
    if isinstance(given, keras.layers.Layer):
        return given, None if history is None else recorded(history)
    if not isinstance(given, UpdateMasks | keras.callbacks.History | Mapping):
        raise TypeError(f"{SUBJECTS}{received(model_or_history=given)}")
    if history is not None:
        raise ValueError(
            "`history` must be None if `model_or_history` is a history itself. "
            f"{received(history=history)}"
        )
    return getattr(given, "model", None), recorded(given)


def check_report_path(path: str | Path) -> Path:
    """The path, if a report may be written there.

    Raises:
        ValueError: as ``report``.
    """
    place = as_path(path)
    if place.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f'`path` must end in ".html". Received: path={str(path)!r}')
    if not place.parent.is_dir():
        raise ValueError(f"`path` must be in a folder that exists. Received: path={str(path)!r}")
    if os.path.lexists(place) and not _is_report(place):
        raise ValueError(
            "`path` must be free, or an earlier report: something else is there. "
            f"Received: path={str(path)!r}"
        )
    check_writable(place)
    return place


def _is_report(place: Path) -> bool:
    if not place.is_file():
        return False
    with place.open(errors="replace") as file:
        return f'name="generator" content="{GENERATOR}"' in file.read(HEAD)


def write_report(content: Content, place: Path) -> Path:
    """Writes the page; an earlier one stays until the new one is whole."""
    text = html_of(content)
    with beside(place) as new:
        new.write_text(text, encoding="utf-8")
    return place
