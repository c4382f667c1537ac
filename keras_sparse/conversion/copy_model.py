"""A copy of a model with all its state, none of it shared; its layers may be of another class.

Layers are not rebuilt from their configs. A config lacks what a layer has learned (``adapt``),
attributes that a user has added, and arguments that ``get_config`` omits. Attributes are copied one
by one, and a reference to a layer becomes a reference to its copy.
"""

from collections.abc import Mapping
from typing import Any

import keras

from keras_sparse._keras import eager_scope, layers_of, strategy_scope
from keras_sparse.conversion.copier import ClassOf, Copier


def copy_model(model: Any, class_of: ClassOf = type) -> tuple[Any, dict[int, Any]]:
    """The copy, not compiled, and ``{id of an original: its copy}`` for every copied object.

    Both models are independent: training one leaves the other unchanged. They share functions,
    tensors, lookup tables, and objects that Python cannot copy, such as locks and files. Optimizers
    in attributes are created anew from their configs. Sparse layers of the copy have no mask yet.

    Args:
        model: a Keras model, or a layer alone.
        class_of: a function that returns the class of a layer's copy: the layer's own, or one with
            the same variables and attributes.

    Raises:
        ValueError: a layer cannot be copied; the message names it.
    """
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.TFSMLayer):
            raise ValueError(
                "`model` must not contain a SavedModel: its functions keep their own variables. "
                "Convert the models around it separately and call them in turn. "
                f"Received: TFSMLayer {layer.name!r}"
            )
    copier = Copier(class_of)
    with eager_scope(), strategy_scope(model):
        for variable in (*model.weights, *model.variables):
            copier.copy(variable)
        copied = copier.copy(model)
        copier.finish()
    _check(model, copied, copier.copies)
    return copied, copier.copies


def _check(model: keras.Model, copied: keras.Model, copies: Mapping[int, Any]) -> None:
    """Raises ValueError unless the copy has all weights, in order, and shares none."""
    expected = [copies[id(variable)] for variable in model.weights]
    are_shared = set(map(id, expected)) & set(map(id, model.weights))
    if list(map(id, copied.weights)) != list(map(id, expected)) or are_shared:
        kept = set(map(id, copied.weights))
        lost = [v.path for v in model.weights if id(copies[id(v)]) not in kept]
        raise ValueError(
            "`model` must hold its weights in attributes of its layers, to be copied. Otherwise "
            "write keras_sparse.layers.SparseConv2D and SparseDense in the model in place of "
            "keras.layers.Conv2D and Dense; weight files fit both. "
            f"Received: {type(model).__name__} {model.name!r} with the weights "
            f"{lost or [v.path for v in model.weights]}"
        )
