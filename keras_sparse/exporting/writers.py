"""Writes a model as a SavedModel, a .keras file, an ONNX file or OpenVINO's two files."""

import math
import tempfile
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_sparse._keras import Serving, to_numpy, to_onnx
from keras_sparse.exporting.ready_model import ReadyModel

LARGE_MODEL = 2**25  # weights; tf2onnx copies those in a graph about twenty times
LARGE_WEIGHT = 2**20


def write_saved_model(ready: ReadyModel, path: Path) -> None:
    """A folder, with an endpoint ``serve`` and the signature ``serving_default``."""
    settings = ready.settings
    served = Serving(ready.model, ready.signature, **settings) if settings else ready.serving
    served.write(path)


def write_keras(ready: ReadyModel, path: Path) -> None:
    """A file that ``keras.saving.load_model`` reads, without an optimizer."""
    ready.model.save(path)


def write_onnx(ready: ReadyModel, path: Path) -> None:
    """A file of one graph; tf2onnx converts it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tf2onnx and NumPy, about each other's versions
        if keras.backend.backend() == "tensorflow":
            function, outside = _function(ready)
            weights = {name: to_numpy(variable) for name, variable in outside.items()}
            to_onnx(function, str(path), **ready.settings, weights=weights)
        else:
            _by_keras(ready, path, "onnx")


def _function(ready: ReadyModel) -> tuple[Any, dict[str, Any]]:
    """The traced prediction, and the variables that a large model takes as inputs, by name."""
    sizes = {id(v): math.prod(v.shape) for v in ready.model.variables}
    if sum(sizes.values()) < LARGE_MODEL or ready.serving.has_loops():
        return ready.serving.function(), {}
    large = [v for v in ready.model.variables if sizes[id(v)] >= LARGE_WEIGHT]
    return ready.serving.function_of(large)


def write_openvino(ready: ReadyModel, path: Path) -> None:
    """An .xml file of the graph, and a .bin file of the weights beside it.

    Keras names the inputs in another order than it passes those of a dict.
    """
    if keras.backend.backend() != "tensorflow":
        _by_keras(ready, path, "openvino")
        return
    import openvino

    with tempfile.TemporaryDirectory() as folder:
        ready.serving.write(folder)
        converted = openvino.convert_model(folder, **ready.settings)
        openvino.save_model(converted, str(path), compress_to_fp16=False)


def _by_keras(ready: ReadyModel, path: Path, name: str) -> None:
    signature = {"input_signature": ready.signature, **ready.settings}
    ready.model.export(str(path), format=name, verbose=False, **signature)
