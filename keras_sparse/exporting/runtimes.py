"""Loads a file in the runtime that it is for, and predicts: outputs, and the runtime's name."""

import importlib.metadata
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import layers_of
from keras_sparse.exporting.ready_model import ReadyModel
from keras_sparse.exporting.sample import predictions_of

Outputs = tuple[list[Any], str]


def run_saved_model(ready: ReadyModel, path: Path) -> Outputs:
    """By TensorFlow."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))  # held while it computes: it owns the variables
    outputs = loaded.serve(*ready.structured_sample)
    return [each.numpy() for each in keras.tree.flatten(outputs)], f"TensorFlow {tf.__version__}"


def run_keras(ready: ReadyModel, path: Path) -> Outputs:
    """By Keras, which knows the classes of the model's layers."""
    own = {type(layer).__name__: type(layer) for layer in (ready.model, *layers_of(ready.model))}
    loaded = keras.saving.load_model(path, custom_objects=own, compile=False, safe_mode=False)
    outputs = predictions_of(loaded, ready.signature, ready.sample)
    return outputs, f"Keras {keras.__version__}"


def run_onnx(ready: ReadyModel, path: Path) -> Outputs:
    """By ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs = _named([each.name for each in session.get_inputs()], ready, ready.sample)
    return session.run(None, inputs), f"ONNX Runtime {onnxruntime.__version__}"


def run_openvino(ready: ReadyModel, path: Path) -> Outputs:
    """By OpenVINO's plugin for CPUs, in float32: by default it may compute in bfloat16."""
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    names = [each.any_name for each in compiled.inputs]
    results = compiled(_named(names, ready, ready.sample))
    outputs = [np.array(results[each]) for each in compiled.outputs]
    return outputs, f"OpenVINO {openvino.__version__.split('-')[0]}"


def run_litert(ready: ReadyModel, path: Path) -> Outputs:
    """By LiteRT's interpreter, with its default delegates."""
    interpreter, version = _interpreter(path)
    signature = interpreter.get_signature_runner()
    names, batches = list(signature.get_input_details()), [ready.sample]
    if ready.one_by_one:
        batches = list(ready.examples())
    given, taken = signature.get_input_details(), signature.get_output_details()
    found = []
    for batch in batches:
        inputs = _named(names, ready, batch)
        outputs = signature(**{name: _rounded(inputs[name], given[name]) for name in inputs})
        found.append({name: _unrounded(outputs[name], taken[name]) for name in outputs})
    order = sorted(found[0], key=numbered)
    return [np.concatenate([each[name] for each in found]) for name in order], version


def _rounded(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """An input as the file takes it: in int8 or uint8 where ``inference_input_type`` says so."""
    scale, zero = details["quantization"]
    dtype = np.dtype(details["dtype"])
    if not scale or dtype.kind not in "iu":
        return array
    limits = np.iinfo(dtype)
    return np.clip(np.round(array / scale) + zero, limits.min, limits.max).astype(dtype)


def _unrounded(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """An output in float, whatever ``inference_output_type`` is."""
    scale, zero = details["quantization"]
    if not scale or array.dtype.kind not in "iu":
        return array
    return np.asarray((array.astype(np.float32) - zero) * np.float32(scale))


def _interpreter(path: Path) -> tuple[Any, str]:
    """ai_edge_litert's where it is installed; else TensorFlow's."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of TensorFlow, that ai_edge_litert is its successor
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError:
            return tf.lite.Interpreter(str(path)), f"TensorFlow Lite {tf.__version__}"
        version = importlib.metadata.version("ai-edge-litert")
        return Interpreter(str(path)), f"LiteRT {version}"


def numbered(name: str) -> tuple[str, int]:
    """Sorts ``output_2`` before ``output_10``, and keys of a dict as ``keras.tree`` does."""
    number = name.removeprefix("output_")
    return ("output_", int(number)) if name != number and number.isdecimal() else (name, 0)


def _named(
    names: Sequence[str], ready: ReadyModel, arrays: list[np.ndarray]
) -> dict[str, np.ndarray]:
    """Arrays for the model's inputs, by a file's names of them.

    Converters may reorder inputs and keep their names, or leave out those that nobody reads.
    """
    if keras.backend.backend() == "tensorflow":
        by_name = dict(zip(ready.serving.input_names(), arrays, strict=True))
        if set(names) <= set(by_name):
            return {name: by_name[name] for name in names}
    if len(names) != len(arrays):
        raise ValueError(f"it has the inputs {list(names)}, and the model {len(arrays)}")
    return dict(zip(names, arrays, strict=True))
