"""Saves, loads and exports a sparse model, and checks that nothing is lost or added."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

TOLERANCE = 1e-5  # a served graph may add up in another order


def save_and_check(model: keras.Model, images: np.ndarray, folder: Path) -> None:
    """Writes a .keras file and a SavedModel, loads both, and raises AssertionError if either predicts something else."""
    expected = model.predict(images, verbose=0)
    file, served = folder / f"{model.name}.keras", folder / f"{model.name}_served"
    model.save(file)
    _check_keras_file(file, model, images, expected)
    model.export(served, verbose=False)
    _check_served(served, model, images, expected)
    print(f"{file} and {served}/ were loaded back and predict the same; the SavedModel holds the {len(model.weights)} weights and stock TensorFlow ops only")


def _check_keras_file(file: Path, model: keras.Model, images: np.ndarray, expected: np.ndarray) -> None:
    loaded = keras.saving.load_model(file)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, rtol=TOLERANCE, atol=TOLERANCE)
    # In order and not by name: Keras leaves a Sequential model's name out of its variables' paths when it loads it.
    for mask, original in zip(loaded.optimizer.masks.values(), model.optimizer.masks.values(), strict=True):
        np.testing.assert_array_equal(mask, original)


def _check_served(served: Path, model: keras.Model, images: np.ndarray, expected: np.ndarray) -> None:
    """The SavedModel predicts the same, has the model's weights and no other variable, and stock ops only."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    loaded = tf.saved_model.load(str(served))
    np.testing.assert_allclose(loaded.serve(images).numpy(), expected, rtol=TOLERANCE, atol=TOLERANCE)
    proto = saved_model_pb2.SavedModel.FromString((served / "saved_model.pb").read_bytes())
    weights = {(weight.path, tuple(weight.shape)) for weight in model.weights}
    assert _variables(proto) == weights, f"The SavedModel has other variables than the model's weights: {_variables(proto) ^ weights}"
    unknown = _op_types(proto) - set(dir(tf.raw_ops))
    assert not unknown, f"The SavedModel needs ops that TensorFlow does not bring: {sorted(unknown)}"


def _variables(proto: Any) -> set[tuple[str, tuple[int, ...]]]:
    """Name and shape of all variables. A set, as Keras puts each into a SavedModel twice, dense models too."""
    nodes = [node.variable for meta in proto.meta_graphs for node in meta.object_graph_def.nodes if node.WhichOneof("kind") == "variable"]
    return {(variable.name, tuple(dimension.size for dimension in variable.shape.dim)) for variable in nodes}


def _op_types(proto: Any) -> set[str]:
    """All op types in the graph of a SavedModel and in its functions."""
    functions: set[str] = set()
    types: set[str] = set()
    for meta in proto.meta_graphs:
        graph = meta.graph_def
        functions |= {function.signature.name for function in graph.library.function}
        types |= {node.op for node in graph.node} | {node.op for function in graph.library.function for node in function.node_def}
    return types - functions  # an op may be a call of a function that the SavedModel brings
