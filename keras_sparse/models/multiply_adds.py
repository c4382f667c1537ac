"""The multiply-adds of one example, by weight, read from the traced model.

The model may consist of any layers. Nothing is computed, and the model does not change. A number
that the trace does not contain is None, with the reason.
"""

import contextlib
import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import tree

from keras_sparse._keras import input_structure, layers_of, losses_kept, symbolic
from keras_sparse.models import jax_graph, products, tensorflow_graph

Shape = tuple[int | None, ...]
Trace = Callable[[Callable[[Any], Any], Any, Sequence[Any]], Any]
TRACES: dict[str, Trace] = {"tensorflow": tensorflow_graph.trace, "jax": jax_graph.trace}


@dataclasses.dataclass(frozen=True)
class MultiplyAdds:
    """The multiply-adds of one example.

    Attributes:
        of_weights: ``{id of a weight: multiply-adds, or None if unknown}``; 0 for a weight in no
            product.
        other: multiply-adds of products without weights, as in attention.
        inputs: ``{id of a layer: inputs of its calls}``.
        batch: number of examples in these inputs.
        why_unknown: why nothing could be counted, or None.
    """

    of_weights: dict[int, int | None]
    other: int | None
    inputs: dict[int, list[keras.KerasTensor]]
    batch: int = 1
    why_unknown: str | None = None


def count_multiply_adds(
    model: keras.Model,
    input_shape: Any = None,
    batch: int | None = None,
) -> MultiplyAdds:
    """The multiply-adds of one example, and the input shapes of layers.

    Args:
        model: a built model.
        input_shape: shape of the inputs, with or without the batch; a list or dict for several
            inputs. None: the model's own.
        batch: number of examples to trace; None: the batch in the model's input shape, or 1.

    Raises:
        ValueError: ``input_shape`` or ``batch`` does not fit the model.
    """
    inputs, why = symbolic_inputs(model, input_shape, batch)
    if keras.backend.backend() not in TRACES:
        why = f"no trace on the backend {keras.backend.backend()}"
    if why is not None:
        return _unknown(model, why)
    try:
        return _traced(model, inputs)
    except Exception as error:  # the user's layers may raise anything
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        if input_shape is None and batch is None:
            return _unknown(model, f"the model cannot be traced: {line}")
        shapes = [tuple(each.shape) for each in tree.flatten(inputs)]
        raise ValueError(
            f"`input_shape` and `batch` must fit the model. Its call on inputs of shape {shapes} "
            f"raised: {line} Received: input_shape={input_shape}, batch={batch}"
        ) from error


def _unknown(model: keras.Model, why: str) -> MultiplyAdds:
    return MultiplyAdds(dict.fromkeys(map(id, model.weights)), None, {}, why_unknown=why)


def _traced(model: keras.Model, inputs: Any) -> MultiplyAdds:
    weights = model.weights
    sizes = [math.prod(weight.shape) for weight in weights]
    batch = next((each.shape[0] for each in tree.flatten(inputs) if each.shape), 1)
    trace = TRACES[keras.backend.backend()]
    with losses_kept(model), _noted(layers_of(model), batch) as noted:
        graph, origins = trace(lambda x: model(x, training=False), inputs, weights)
    counts = products.count(graph, origins, sizes)
    of_weights = {id(v): _of_one(counts[i], batch) for i, v in enumerate(weights)}
    return MultiplyAdds(of_weights, _of_one(counts[products.OTHER], batch), noted, batch)


def _of_one(number: float, batch: int) -> int | None:
    return None if math.isnan(number) else round(number / batch)


@contextlib.contextmanager
def _noted(
    layers: Sequence[keras.layers.Layer], batch: int
) -> Iterator[dict[int, list[keras.KerasTensor]]]:
    """Records the inputs of all calls of these layers while the context lasts."""
    noted: dict[int, list[keras.KerasTensor]] = {id(layer): [] for layer in layers}

    def noting(layer: keras.layers.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def noting_call(*args: Any, **kwargs: Any) -> Any:
            first = next((x for x in tree.flatten((args, kwargs)) if hasattr(x, "shape")), None)
            outputs = call(*args, **kwargs)
            if first is not None:
                noted[id(layer)].append(symbolic(first))
                if keras.backend.standardize_dtype(first.dtype) == "string":
                    outputs = tree.map_structure(lambda x: _of_batch(x, batch), outputs)
            return outputs

        return noting_call

    for layer in layers:
        layer.__dict__["call"] = noting(layer, layer.call)
    try:
        yield noted
    finally:
        for layer in layers:
            layer.__dict__.pop("call", None)


def _of_batch(tensor: Any, batch: int) -> Any:
    """The tensor with the batch in its shape, which operations on strings lose."""
    shape = tensor.shape
    if hasattr(tensor, "set_shape") and shape.rank and shape[0] is None:
        tensor.set_shape((batch, *shape[1:]))
    return tensor


# --- the inputs of the model


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
            f"Received: input_shape={input_shape!r}"
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
