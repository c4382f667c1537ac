"""The multiply-adds of one example, by weight, read from the traced model.

The model may consist of any layers. Nothing is computed, and the model does not change. A number
that the trace does not contain is None, with the reason.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import tree

from keras_sparse._keras import layers_of, losses_kept, symbolic
from keras_sparse.tracing import jax_graph, products, tensorflow_graph
from keras_sparse.tracing.model_inputs import symbolic_inputs

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

    own = {id(layer): vars(layer).get("call") for layer in layers}  # that a user has set
    for layer in layers:
        vars(layer)["call"] = noting(layer, layer.call)
    try:
        yield noted
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
            if (call := own[id(layer)]) is not None:
                vars(layer)["call"] = call


def _of_batch(tensor: Any, batch: int) -> Any:
    """The tensor with the batch in its shape, which operations on strings lose."""
    shape = tensor.shape
    if hasattr(tensor, "set_shape") and shape.rank and shape[0] is None:
        tensor.set_shape((batch, *shape[1:]))
    return tensor
