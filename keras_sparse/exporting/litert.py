"""Writes a .tflite file, in which kernels with many zeros are stored sparse."""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import layers_of
from keras_sparse.exporting.ready_model import ReadyModel
from keras_sparse.models.tflite_tensors import tensors_with_cut_blocks
from keras_sparse.rules.received import received

LOSES_WEIGHTS = (
    "`sparsity` must be None or False for this model. LiteRT's converter stores kernels in blocks "
    "that do not divide their sizes, and loses the weights at the edges. Received: sparsity=True, "
    "kernels {cut}"
)
STORED_DENSE = (
    "All kernels are stored dense: LiteRT's converter would lose weights of a dense layer whose "
    "number of inputs is not a multiple of 4."
)


def takes_one_by_one(model: keras.Model, signature: list[Any]) -> bool:
    """Whether its file takes a batch of 1: with recurrent layers, if the batch is not given.

    For a batch of any size, the converter writes their loops with operations that LiteRT lacks.
    """
    is_open = any(spec.shape[0] is None for spec in keras.tree.flatten(signature))
    return is_open and any(isinstance(layer, keras.layers.RNN) for layer in layers_of(model))


def write_litert(ready: ReadyModel, path: Path) -> None:
    """Converts a SavedModel of the model; settings are attributes of the converter.

    In a model with loops, int8 stores the weights alone: the converter's calibration of what layers
    write ends the process (a segmentation fault in TensorFlow 2.21).

    Raises:
        ValueError: the converter has no attribute of a setting's name, cannot convert Keras'
            quantized layers, or would lose weights of kernels that must be stored sparse.
    """
    if ready.one_by_one:
        ready.notes.append("The file takes one example at a time.")
    with tempfile.TemporaryDirectory() as folder:
        ready.serving.write(folder)
        stores_sparse = ready.sparsity is not False
        content = _converted(_converter(ready, folder, stores_sparse), ready.model)
        if stores_sparse and (cut := tensors_with_cut_blocks(content)):
            if ready.sparsity:
                raise ValueError(LOSES_WEIGHTS.format(cut=cut))
            ready.notes.append(STORED_DENSE)
            content = _converted(_converter(ready, folder, stores_sparse=False), ready.model)
        path.write_bytes(content)


def _converter(ready: ReadyModel, folder: str, stores_sparse: bool) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(folder)
    sets = tf.lite.OpsSet
    converter.target_spec.supported_ops = [sets.TFLITE_BUILTINS, sets.SELECT_TF_OPS]
    converter.experimental_enable_resource_variables = True
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY] if stores_sparse else []
    if ready.dtype != "float32":
        converter.optimizations.append(tf.lite.Optimize.DEFAULT)
    if ready.dtype == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if ready.dtype == "int8" and not ready.serving.has_loops():
        converter.representative_dataset = lambda: _examples(ready)
    _apply(converter, ready.settings)
    return converter


def _converted(converter: Any, model: keras.Model) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of calls that the converter makes itself
            return bytes(converter.convert())
    except Exception as error:  # of any class, with the converter's own dump
        layers = layers_of(model)
        quantized = [each.name for each in layers if getattr(each, "quantization_mode", None)]
        if not quantized:
            raise
        raise ValueError(
            "LiteRT's converter does not take these layers as `quantize` has left them. Export "
            'the model of before `quantize`, with `dtype="int8"`: LiteRT then has its own '
            f"quantized layers. Received: quantized layers {quantized}"
        ) from error


def _examples(ready: ReadyModel) -> Iterator[dict[str, np.ndarray]]:
    """The examples of the sample, one by one, by the names of the inputs."""
    names = ready.serving.input_names()
    for arrays in ready.examples():
        yield dict(zip(names, arrays, strict=True))


def _apply(converter: Any, settings: dict[str, Any]) -> None:
    """Sets attributes of the converter, as ``keras.Model.export`` does."""
    for name, value in settings.items():
        if name == "target_spec" and isinstance(value, dict):
            for key, one in value.items():
                setattr(converter.target_spec, key, one)
        elif hasattr(converter, name):
            setattr(converter, name, value)
        else:
            raise ValueError(
                f"A setting of the format 'litert' must be an attribute of LiteRT's converter. "
                f"{received(**{name: value})}"
            )
