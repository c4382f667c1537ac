"""Quantizes a network in each way, and counts which of its missing weights are still 0."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import classifier
from keras_sparse.models.quantized import nonzero_of_quantized
from keras_sparse.models.tflite_tensors import constants

CALIBRATION = 200  # training images, of which LiteRT takes the ranges of outputs


def quantize(model: keras.Model, kind: str) -> None:
    """In place, as Keras does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of layers that Keras does not quantize
        model.quantize(kind)


def kernels_of(model: keras.Model) -> list[np.ndarray]:
    """As they are stored."""
    return [keras.ops.convert_to_numpy(layer.kernel) for layer in classifier.with_kernels(model)]


def nonzero_of(model: keras.Model) -> list[np.ndarray]:
    """Bool arrays of the shapes that kernels had before they were quantized."""
    packed = [nonzero_of_quantized(layer) for layer in classifier.with_kernels(model)]
    return [
        kernel != 0 if one is None else one
        for one, kernel in zip(packed, kernels_of(model), strict=True)
    ]


def of_litert(
    model: keras.Model, sample: np.ndarray, test: Any, folder: Path
) -> tuple[float, list[np.ndarray]]:
    """The test error of the file, and which of its weights are not 0."""
    from ai_edge_litert.interpreter import Interpreter

    path = folder / "model.tflite"
    settings: Any = {"dtype": "int8", "sample": sample, "tolerance": 1.0, "verbose": False}
    ks.export(model, path, "litert", compare_dense=False, **settings)
    runner = Interpreter(str(path)).get_signature_runner()
    (name,) = runner.get_input_details()
    size = classifier.BATCH
    outputs = [
        next(iter(runner(**{name: test[0][i : i + size]}).values()))
        for i in range(0, len(test[0]), size)
    ]
    wrong = np.argmax(np.concatenate(outputs), 1) != test[1]
    stored = [values for _, values, _ in constants(path) if values.dtype == np.int8]
    return 100 * float(np.mean(wrong)), [values != 0 for values in _in_order(stored, model)]


def _in_order(stored: Sequence[np.ndarray], model: keras.Model) -> list[np.ndarray]:
    """A file's kernels (outputs, ..., inputs), with the axes and in the order of the model's."""
    moved = [np.moveaxis(values, 0, -1) for values in stored if values.ndim > 1]
    return [
        next(values for values in moved if values.shape == tuple(layer.kernel.shape))
        for layer in classifier.with_kernels(model)
    ]


def zeros_kept(masks: Sequence[np.ndarray], nonzero: Sequence[np.ndarray]) -> list[int]:
    """Missing weights that are 0, and all missing weights."""
    pairs = list(zip(masks, nonzero, strict=True))
    kept = sum(int(np.count_nonzero(~mask & ~found)) for mask, found in pairs)
    return [kept, sum(int(np.count_nonzero(~mask)) for mask in masks)]
