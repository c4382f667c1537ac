"""The shapes of a batch for a model, from the model and its loss."""

from typing import Any

import keras
import tensorflow as tf
from keras import tree

from keras_sparse._keras import input_structure

GIVE = "Return `(model, (inputs, targets))` instead, two tf.TensorSpecs or nests of them."
SPARSE = "sparse_categorical_crossentropy"


def batch_of(model: keras.Model, size: int) -> tuple[Any, Any]:
    """The tf.TensorSpecs (inputs, targets) of a batch.

    Args:
        model: a compiled model.
        size: the number of examples.

    Raises:
        ValueError: the model does not know its input shape, or it has several outputs.
    """
    inputs = input_structure(model)
    if inputs is None or any(None in tensor.shape[1:] for tensor in tree.flatten(inputs)):
        raise ValueError(
            f"`model` must know its input shape. {GIVE} "
            f"Received: model={type(model).__name__} {model.name!r}"
        )
    if len(model.outputs) != 1:
        raise ValueError(
            f"`model` must have one output, to derive the shape of its targets. {GIVE} "
            f"Received: {len(model.outputs)} outputs of {model.name!r}"
        )
    shape = tuple(model.outputs[0].shape[1:])
    targets = (
        tf.TensorSpec((size, *shape[:-1]), tf.int32)
        if _takes_classes(model.loss)
        else tf.TensorSpec((size, *shape), tf.float32)
    )
    return tree.map_structure(
        lambda tensor: tf.TensorSpec((size, *tensor.shape[1:]), tensor.dtype), inputs
    ), targets


def resized(batch: Any, size: int) -> Any:
    """The specs with another number of examples in their first axis."""
    return tree.map_structure(
        lambda spec: tf.TensorSpec((size, *spec.shape[1:]), spec.dtype), batch
    )


def _takes_classes(loss: Any) -> bool:
    """Whether the loss takes class numbers instead of one value for each class."""
    names = (loss, getattr(loss, "name", None), getattr(loss, "__name__", None))
    return isinstance(loss, keras.losses.SparseCategoricalCrossentropy) or SPARSE in names
