"""A model or SavedModel without zeros, to compare sizes: random numbers are in their place."""

import dataclasses
import shutil
from pathlib import Path

import keras
import numpy as np

from keras_sparse.conversion.sparsify import densify
from keras_sparse.exporting.ready_model import ReadyModel

VARIABLES = ("variables", "variables")  # the prefix of a SavedModel's checkpoint


def twin_of(ready: ReadyModel) -> ReadyModel:
    """What is written to compare sizes: the filled model, stored dense, without notes."""
    return dataclasses.replace(ready, model=filled(ready.model), sparsity=False, notes=[])


def filled(model: keras.Model) -> keras.Model:
    """A dense twin of a model: a copy whose zeros are random numbers of the others' size."""
    twin, rng = densify(model), np.random.default_rng(0)
    for variable in twin.weights:
        if len(variable.shape) < 2 or "float" not in str(variable.dtype):
            continue
        values = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32")))
        if (dense := _without_zeros(values, rng)) is not None:
            variable.assign(dense)
    return twin


def fill_saved_model(ready: ReadyModel, path: Path, twin: Path) -> None:
    """Copies a SavedModel and fills its variables; to write ``ready`` again would take longer."""
    import tensorflow as tf

    shutil.copytree(path, twin)
    reader, rng = tf.train.load_checkpoint(str(path.joinpath(*VARIABLES))), np.random.default_rng(0)
    dtypes = reader.get_variable_to_dtype_map()
    names = sorted(dtypes)
    tensors = []
    for name in names:
        tensor = tf.convert_to_tensor(reader.get_tensor(name), dtypes[name])
        if tensor.dtype.is_floating and tensor.shape.rank > 1:
            dense = _without_zeros(tf.cast(tensor, "float32").numpy(), rng)
            tensor = tensor if dense is None else tf.cast(dense, tensor.dtype)
        tensors.append(tensor)
    tf.raw_ops.SaveV2(
        prefix=str(twin.joinpath(*VARIABLES)),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=tensors,
    )


def _without_zeros(values: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The same with random numbers of the others' size for zeros; None: nothing is to be filled."""
    missing = values == 0
    if not missing.any() or missing.all():
        return None
    scale = float(np.std(values[~missing])) or 1.0
    return np.where(missing, rng.normal(0.0, scale, values.shape), values).astype("float32")
