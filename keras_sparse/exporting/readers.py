"""``read_by``: which layers of a traced model read what another layer returns, and its weights."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer while the model was traced.

    Attributes:
        layer: that was called.
        inputs: its first argument, a symbolic tensor.
        outputs: what it returned.
        training: whether its argument of this name may be true.
        operations: of TensorFlow, that the call has added to the graph.
    """

    layer: keras.layers.Layer
    inputs: Any
    outputs: Any
    training: bool
    operations: frozenset[Any]


class Readers:
    """All calls in the graph of one prediction.

    Args:
        graph: of TensorFlow.
        calls: of layers that take and return one tensor.
    """

    def __init__(self, graph: Any, calls: list[Call]) -> None:
        self._calls = calls
        self._placeholders = {id(outer): inner for outer, inner in graph.captures}

    def calls_of(self, layer: keras.layers.Layer) -> list[Call]:
        """Of this layer, in the order in which they were traced."""
        return [call for call in self._calls if call.layer is layer]

    def maker_of(self, tensor: Any) -> keras.layers.Layer | None:
        """The first layer that has returned this tensor; None: none of those looked at has."""
        return next((call.layer for call in self._calls if call.outputs is tensor), None)

    def is_read_only_by(self, layer: keras.layers.Layer, reader: keras.layers.Layer) -> bool:
        """Whether all outputs of a layer go into calls of this reader alone."""
        own = self._operations_of(reader)
        tensors = [call.outputs for call in self.calls_of(layer)]
        taken = [call.inputs for call in self.calls_of(reader)]
        return all(
            any(tensor is each for each in taken) and own.issuperset(_names(tensor.consumers()))
            for tensor in tensors
        )

    def is_own(self, variable: keras.Variable, layer: keras.layers.Layer) -> bool:
        """Whether calls of this layer alone read the variable."""
        placeholder = self._placeholders.get(id(variable.value.handle))
        if placeholder is None:
            return False
        return self._operations_of(layer).issuperset(_names(placeholder.consumers()))

    def _operations_of(self, layer: keras.layers.Layer) -> frozenset[Any]:
        return frozenset().union(*(call.operations for call in self.calls_of(layer)))


def read_by(model: keras.Model, signature: list[Any], layers: list[keras.layers.Layer]) -> Readers:
    """Traces a prediction, and notes the calls of some layers. Computes nothing.

    Args:
        model: on TensorFlow.
        signature: the positional arguments of its call, structures of specs.
        layers: of the model; calls of others are not looked at.
    """
    import tensorflow as tf

    calls: list[Call] = []
    specs = keras.tree.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype), signature)
    with ExitStack() as noted:
        for layer in layers:
            noted.enter_context(_noted(layer, calls))
        predict = functools.partial(model.__call__, training=False)
        traced = tf.function(predict, autograph=False).get_concrete_function(*specs)
    return Readers(traced.graph, calls)


@contextmanager
def _noted(layer: keras.layers.Layer, calls: list[Call]) -> Iterator[None]:
    """The body runs with a ``call`` of this layer that adds to ``calls``."""
    attributes = vars(layer)
    given: Callable[..., Any] = layer.call
    had_own = "call" in attributes

    @functools.wraps(given)
    def call(*args: Any, **kwargs: Any) -> Any:
        inputs: Any = args[0] if args else None
        if not hasattr(inputs, "graph"):
            return given(*args, **kwargs)
        before = _names(inputs.graph.get_operations())
        outputs = given(*args, **kwargs)
        if hasattr(outputs, "consumers"):
            added = _names(inputs.graph.get_operations()) - before
            trains = kwargs.get("training", args[1] if len(args) > 1 else None)
            in_training = trains is not None and trains is not False
            calls.append(Call(layer, inputs, outputs, in_training, frozenset(added)))
        return outputs

    attributes["call"] = call
    try:
        yield
    finally:
        if had_own:
            attributes["call"] = given
        else:
            del attributes["call"]


def _names(operations: Any) -> set[Any]:
    return {(id(operation.graph), operation.name) for operation in operations}
