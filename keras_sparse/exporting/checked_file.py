"""Writes a model's file, reads it back in its runtime, and keeps it if it predicts the same."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras

from keras_sparse.conversion.progress import current
from keras_sparse.exporting.checks import largest_difference, tolerance_for
from keras_sparse.exporting.formats import Format
from keras_sparse.exporting.place import beside
from keras_sparse.exporting.ready_model import ReadyModel, is_mixed
from keras_sparse.exporting.sample import differs_from_call_to_call, predictions_of
from keras_sparse.exporting.without_zeros import twin_of
from keras_sparse.models.file_report import Sizes, sizes_of

NO_TWIN = (
    "{path} is written and checked, but the model without zeros could not be written to compare "
    "sizes: {error}. Pass compare_dense=False to leave it out."
)
NOT_TAKEN = (
    "`sample` must be inputs that the model takes: it cannot predict for the random ones. "
    "Received: sample=None, model={name!r}, which raised {error} for inputs of the shapes {shapes}"
)

DIFFERS_ITSELF = (
    " The model's own predictions differ from one call to the next, as those of a sampling layer "
    "do. Export the part without it, or pass a `tolerance`."
)


class Written(NamedTuple):
    """What a runtime has found in a file; see ``ExportReport``."""

    tolerance: float
    runtime: str
    difference: float
    sizes: Sizes
    dense_sizes: Sizes | None


def check_copy(model: keras.Model, ready: ReadyModel, is_random: bool) -> None:
    """Raises RuntimeError unless the model that is written predicts what the given one does.

    Raises ValueError if the sample is random and the model does not take it.
    """
    found = _predictions_of_random(ready) if is_random else ready.expected
    if ready.model is model:
        return
    expected = predictions_of(model, ready.signature, ready.sample)
    difference = largest_difference(found, expected)
    if not difference <= tolerance_for("float32", is_mixed(model)):
        raise RuntimeError(
            "The copy to be written predicts something else than the model that you gave: "
            f"the largest difference is {difference:.2g} of the largest prediction. "
            f"Received: model={model.name!r}"
        )


def write_checked(
    chosen: Format, ready: ReadyModel, path: Path, tolerance: float | None, compare_dense: bool
) -> Written:
    """Writes to ``path`` what predicts the same as the model; else raises RuntimeError.

    Without a tolerance, what rounding in this file explains.
    """
    with beside(path) as place:
        outputs, runtime = _written_and_run(chosen, ready, place)
        difference = largest_difference(outputs, ready.expected)
        if tolerance is None:
            tolerance = chosen.tolerance(ready, place) or _of_dtype(chosen, ready)
        if not difference <= tolerance:
            raise RuntimeError(
                f"{runtime} predicts something else than the model: the largest difference is "
                f"{difference:.2g} of the largest prediction, and `tolerance` allows "
                f"{tolerance:g}. Nothing was written.{_hint(outputs, ready)} "
                f"Received: path={str(path)!r}"
            )
        sizes = _sizes(chosen, place)
    dense_sizes = _dense_sizes(chosen, ready, path) if compare_dense else None
    return Written(tolerance, runtime, difference, sizes, dense_sizes)


def _hint(outputs: Sequence[Any], ready: ReadyModel) -> str:
    """How predictions differ in shape, or why they may differ although the file is right."""
    found = [tuple(each.shape) for each in outputs]
    expected = [tuple(each.shape) for each in ready.expected]
    if found != expected:
        return f" The shapes are {found} in place of {expected}."
    if differs_from_call_to_call(ready.model, ready.signature, ready.sample):
        return DIFFERS_ITSELF
    return ""


def _predictions_of_random(ready: ReadyModel) -> list[Any]:
    """ValueError if the random inputs have a size, or an integer, that the model refuses."""
    try:
        return ready.expected
    except Exception as error:
        shapes = [array.shape for array in ready.sample]
        name, kind = ready.model.name, type(error).__name__
        raise ValueError(NOT_TAKEN.format(name=name, error=kind, shapes=shapes)) from error


def _written_and_run(chosen: Format, ready: ReadyModel, place: Path) -> tuple[list[Any], str]:
    """Outputs and runtime; RuntimeError for whatever converters and runtimes raise."""
    current().says(f"writing {place.name}")
    try:
        chosen.write(ready, place)
    except (TypeError, ValueError):
        raise
    except Exception as error:
        raise RuntimeError(
            f"The converter cannot write the model: {error}. Received: model={ready.model.name!r}"
        ) from error
    current().says("reading it back, and predicting")
    try:
        return chosen.run(ready, place)
    except Exception as error:
        raise RuntimeError(
            f"The file was written, but its runtime cannot run it, so it was removed: {error}. "
            f"Received: model={ready.model.name!r}"
        ) from error


def _of_dtype(chosen: Format, ready: ReadyModel) -> float:
    return tolerance_for(ready.dtype, is_mixed(ready.model) and not chosen.in_float32)


def _sizes(chosen: Format, place: Path) -> Sizes:
    return sizes_of(place, *(place.with_suffix(suffix) for suffix in chosen.also))


def _dense_sizes(chosen: Format, ready: ReadyModel, path: Path) -> Sizes | None:
    """Of the same model without zeros, stored dense; None, with a warning, if it is not written."""
    current().says("writing the model without zeros, to compare sizes")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, path.name)
        try:
            if chosen.write_dense is not None:
                chosen.write_dense(ready, path, place)
            else:
                chosen.write(twin_of(ready), place)
        except Exception as error:  # such as a full disk: the file itself is written and checked
            warnings.warn(NO_TWIN.format(path=path, error=error), stacklevel=4)
            return None
        return _sizes(chosen, place)
