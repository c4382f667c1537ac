"""Inputs to compare predictions on: the user's, or random ones of the model's signature."""

from typing import Any

import keras
import numpy as np

from keras_sparse._keras import input_structure, losses_kept, states_kept, to_numpy
from keras_sparse.exporting.checks import largest_difference

BATCH = 2  # examples in a random sample, where the model takes any number
UNKNOWN_SIZE = 64  # stands for other sizes that the signature leaves open


def sample_for(model: keras.Model, signature: list[Any], sample: Any) -> list[np.ndarray]:
    """Arrays for the signature's specs, in the order of ``keras.tree.flatten``.

    Args:
        model: whose inputs they are.
        signature: as ``input_signature`` returns it.
        sample: inputs as the model takes them; None: random numbers, and 0 and 1 as integers.

    Raises:
        ValueError: the sample does not fit the signature.
    """
    specs = keras.tree.flatten(signature)
    if sample is None:
        rng, batch = np.random.default_rng(0), _batch(model)
        return [_random(spec, batch, rng) for spec in specs]
    arrays = keras.tree.flatten(_by_name(sample, signature))
    if len(arrays) != len(specs):
        raise ValueError(
            f"`sample` must have one array for each of the model's {len(specs)} inputs. "
            f"Received: sample with {len(arrays)} arrays"
        )
    return [_fitting(array, spec) for array, spec in zip(arrays, specs, strict=True)]


def _by_name(sample: Any, signature: list[Any]) -> Any:
    """The sample; of a dict, what the model takes as a list, by the names of its inputs, as Keras.

    Its order is another one: ``keras.tree.flatten`` sorts keys.
    """
    if not isinstance(sample, dict) or len(signature) > 1 or isinstance(signature[0], dict):
        return sample
    names = [spec.name for spec in keras.tree.flatten(signature)]
    if not set(names) <= set(sample):
        raise ValueError(
            f"`sample` must have the names of the model's inputs, {names}. "
            f"Received: sample with {list(sample)}"
        )
    return [sample[name] for name in names]


def predictions_of(model: keras.Model, signature: list[Any], arrays: list[np.ndarray]) -> list[Any]:
    """The model's outputs in a prediction, as a flat list of arrays. Its state stays as it is."""
    with states_kept(model):
        return _called(model, signature, arrays)


def _called(model: keras.Model, signature: list[Any], arrays: list[np.ndarray]) -> list[Any]:
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    with losses_kept(model):
        outputs = model(*keras.tree.pack_sequence_as(signature, tensors), training=False)
    return [to_numpy(output) for output in keras.tree.flatten(outputs)]


def differs_from_call_to_call(
    model: keras.Model, signature: list[Any], arrays: list[np.ndarray]
) -> bool:
    """Whether a second prediction differs from a first one. The model's state stays as it is."""
    with states_kept(model):
        first, second = (_called(model, signature, arrays) for _ in range(2))
    return largest_difference(second, first) > 0


def _batch(model: keras.Model) -> int:
    """The batch of models that take only one."""
    inputs = keras.tree.flatten(input_structure(model))
    sizes = [each.shape[0] for each in inputs if each is not None and len(each.shape)]
    return next((size for size in sizes if size), BATCH)


def _random(spec: Any, batch: int, rng: np.random.Generator) -> np.ndarray:
    shape = [size or UNKNOWN_SIZE for size in spec.shape]
    if len(spec.shape) and spec.shape[0] is None:
        shape[0] = batch
    dtype = keras.backend.standardize_dtype(spec.dtype)
    if dtype == "string":
        return np.full(shape, "a sample")
    if dtype == "bool" or "int" in dtype:
        return rng.integers(0, 2, shape).astype(dtype)
    return np.asarray(rng.standard_normal(shape, "float32").astype(dtype))


def _fitting(array: Any, spec: Any) -> np.ndarray:
    """The array in the dtype of a spec; ValueError unless it has the spec's shape."""
    dtype = keras.backend.standardize_dtype(spec.dtype)
    values = np.asarray(array)
    fits = values.ndim == len(spec.shape) and all(
        size in (None, found) for size, found in zip(spec.shape, values.shape, strict=True)
    )
    if not fits or 0 in values.shape:
        raise ValueError(
            f"`sample` must have inputs of the shape {tuple(spec.shape)}, and at least one "
            f"example. Received: sample of the shape {values.shape}"
        )
    return values if dtype == "string" else np.asarray(values.astype(dtype))
