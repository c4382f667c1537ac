"""Symbolic inputs of a model, with the shapes that it knows or that the user gives."""

import inspect
from typing import Any

import keras
from keras import tree

from keras_sparse._keras import input_structure
from keras_sparse.rules.received import received


def symbolic_inputs(
    model: keras.Model, input_shape: Any, batch: int | None
) -> tuple[Any, str | None]:
    """Symbolic inputs of known shapes, or why the shapes are unknown."""
    known = _known_inputs(model)
    if known is None and input_shape is None:
        return None, "the model does not know its input shape: pass `input_shape`"
    if input_shape is not None:
        binds = input_structure(model) is not None
        known = _with_shapes(known, input_shape, binds)
    if _arguments(model) > 1:
        return None, "the model's `call` takes several arguments"
    inputs = tree.map_structure(lambda tensor: _with_batch(tensor, batch), known)
    if any(None in tensor.shape for tensor in tree.flatten(inputs)):
        return None, "part of the input shape is unknown: pass `input_shape`"
    return inputs, None


def _known_inputs(model: keras.Model) -> Any:
    """The inputs of a Functional or Sequential model, or of another model's first call."""
    structure = input_structure(model)
    if structure is not None:
        return structure
    shape = (model.get_build_config() or {}).get("input_shape")
    return None if shape is None else _of_shapes(shape, from_call=True)


def _of_shapes(shapes: Any, from_call: bool = False) -> Any:
    """A KerasTensor for each shape in a structure."""
    if _is_shape(shapes):
        shape = (None, *shapes[1:]) if from_call else tuple(shapes)
        return keras.KerasTensor(shape, "float32")
    if isinstance(shapes, dict):
        return {key: _of_shapes(shape, from_call) for key, shape in shapes.items()}
    return [_of_shapes(shape, from_call) for shape in shapes]


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple | list) and all(n is None or isinstance(n, int) for n in value)


def _with_shapes(known: Any, input_shape: Any, binds: bool) -> Any:
    given = _of_shapes(_checked(input_shape))
    if known is None:
        return given
    tensors, shapes = tree.flatten(known), tree.flatten(given)
    if isinstance(given, dict) and not isinstance(known, dict):  # by the names of the inputs
        shapes = [given.get(tensor.name) for tensor in tensors]
    if len(tensors) != len(shapes) or None in shapes:
        raise ValueError(
            f"`input_shape` must have one shape for each of the {len(tensors)} inputs, in a list "
            f"or dict. Received: input_shape={input_shape}"
        )
    fitted = [_fitted(*pair, binds) for pair in zip(tensors, shapes, strict=True)]
    return tree.pack_sequence_as(known, fitted)


def _checked(input_shape: Any) -> Any:
    """Returns ``input_shape`` if it is a shape, or lists and dicts of shapes."""
    if _is_shape(input_shape) and len(input_shape) > 0:
        return input_shape
    parts = list(input_shape.values()) if isinstance(input_shape, dict) else input_shape
    if not isinstance(parts, list | tuple) or not parts:
        raise ValueError(
            "`input_shape` must be a shape, e.g. (None, 32, 32, 3), or a list or dict of shapes. "
            f"{received(input_shape=input_shape)}"
        )
    for part in parts:
        _checked(part)
    return input_shape


def _fitted(known: Any, given: Any, binds: bool) -> Any:
    """The input with the given shape, which may lack the batch."""
    shape, own = tuple(given.shape), tuple(known.shape)
    if len(shape) == len(own) - 1:
        shape = (own[0], *shape)
    fits = len(shape) == len(own) and (not binds or all(map(_may_be, shape[1:], own[1:])))
    if not fits:
        raise ValueError(
            f"`input_shape` must fit the model's {own}. Received: input_shape={tuple(given.shape)}"
        )
    shape = tuple(m if n is None else n for n, m in zip(shape, own, strict=True))
    return keras.KerasTensor(shape, known.dtype, sparse=known.sparse)


def _may_be(one: int | None, other: int | None) -> bool:
    return one == other or None in (one, other)


def _with_batch(tensor: Any, batch: int | None) -> Any:
    shape = tuple(tensor.shape)
    if shape:
        shape = (batch or shape[0] or 1, *shape[1:])
    return keras.KerasTensor(shape, tensor.dtype, sparse=tensor.sparse)


def _arguments(model: keras.Model) -> int:
    """The number of arguments of the model's call that are inputs."""
    given = inspect.signature(model.call).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)
    return sum(p.kind in kinds and p.name not in ("training", "mask") for p in given)
