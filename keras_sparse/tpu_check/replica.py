"""What does one replica compute?  The body of the replicated cluster, as a function of its own."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sparse.tpu_check._tensorflow import content_of, copy_content, handles
from keras_sparse.tpu_check.cluster import MARK, NotForTpuError, nodes_in_cluster
from keras_sparse.tpu_check.train_step import TrainStep

OUTPUT = "TPUReplicatedOutput"
# Attributes that say where a node runs.
PLACES = (
    MARK,
    "_tpu_input_identity",
    "_tpu_output_identity",
    "_composite_device",
    "_pivot_for_cluster",
    "_XlaHasReferenceVars",
)


@dataclasses.dataclass(frozen=True)
class Input:
    """What a replica reads.

    Args:
        name: the path of a variable, which tensor of the batch ("batch 0" is the first), or "replica": 0, 1, ...
        dtype: of the variable's value, or the tensor.
        shape: of the variable's value, or of what one replica gets of the tensor.
        is_variable: else it is a tensor.
    """

    name: str
    dtype: tf.DType
    shape: tuple[int, ...]
    is_variable: bool


@dataclasses.dataclass(frozen=True)
class Replica:
    """What one replica computes.

    Args:
        function: a concrete function of variables and tensors that captures nothing.
        inputs: its arguments, in order.
    """

    function: Any
    inputs: list[Input]


def cut_out(step: TrainStep) -> Replica:
    """The replicated part of a step, without what surrounds it on the host."""
    graph = step.function.graph
    nodes = nodes_in_cluster(graph)
    inside = {operation.name for operation in nodes}
    outside = {
        tensor.name: tensor
        for operation in nodes
        for tensor in operation.inputs
        if tensor.op.name not in inside
    }
    names = _Names(step)
    constants = {
        name: values[0]
        for name, tensor in outside.items()
        if len(values := _constants(tensor)) == 1
    }
    inputs = {
        name: names.input(_of_first_replica(tensor))
        for name, tensor in outside.items()
        if name not in constants
    }
    body = _body(graph, nodes, inside, list(outside))
    returned = [
        operation.inputs[0].name for operation in graph.get_operations() if operation.type == OUTPUT
    ]
    effects = [operation.name for operation in nodes if operation.op_def.is_stateful]

    def replica(*arguments: Any) -> Any:
        for argument, name in zip(arguments, inputs, strict=True):
            if inputs[name].is_variable:
                copy_content(argument, _of_first_replica(outside[name]))
        given = {
            **dict(zip(inputs, arguments, strict=True)),
            **{name: tf.constant(value) for name, value in constants.items()},
        }
        fed = {_placeholder(i): given[name] for i, name in enumerate(outside)}
        found = tf.graph_util.import_graph_def(body, fed, returned + effects, name="")
        with tf.control_dependencies(found[len(returned) :]):
            return [tf.identity(tensor) for tensor in found[: len(returned)]]

    signature = [
        tf.TensorSpec([], tf.resource) if one.is_variable else tf.TensorSpec(one.shape, one.dtype)
        for one in inputs.values()
    ]
    return Replica(tf.compat.v1.wrap_function(replica, signature), list(inputs.values()))


class _Names:
    """Which variable, or which tensor of the batch, is a tensor that the cluster reads?"""

    def __init__(self, step: TrainStep) -> None:
        owners = {
            id(handle): name
            for name, variable in step.variables.items()
            for handle in handles(variable)
        }
        captures = step.function.graph.captures
        self.variables = {
            inside.name: owners.get(id(outside), f"capture {inside.name}")
            for outside, inside in captures
        }
        fed = [tensor.name for tensor in step.function.inputs if tensor.name not in self.variables]
        self.batch: Mapping[str, str] = {
            name: f"batch {i // step.replicas}" for i, name in enumerate(fed)
        }  # replica after replica

    def input(self, tensor: Any) -> Input:
        if tensor.dtype == tf.resource:
            dtype, shape = content_of(tensor)
            return Input(self.variables[tensor.name], dtype, tuple(shape), is_variable=True)
        return Input(
            self.batch.get(tensor.name, "replica"),
            tensor.dtype,
            tuple(tensor.shape),
            is_variable=False,
        )


def _constants(tensor: Any) -> list[Any]:
    """The different values of a constant on all replicas; [] if it is none.

    Raises:
        NotForTpuError: they are different, and not the numbers of the replicas.
    """
    sources = list(tensor.op.inputs) if tensor.op.type == "TPUReplicatedInput" else [tensor]
    values = [tf.get_static_value(source) for source in sources]
    if any(value is None for value in values):
        return []
    if all(np.array_equal(value, values[0]) for value in values):
        return values[:1]
    if [value.tolist() for value in values] != list(range(len(values))):
        raise NotForTpuError(
            f"Replicas get constants of their own, which is not supported. Received: {tensor.name}"
        )
    return values


def _of_first_replica(tensor: Any) -> Any:
    return tensor.op.inputs[0] if tensor.op.type == "TPUReplicatedInput" else tensor


def _placeholder(i: int) -> str:
    return f"from_outside_{i}:0"


def _body(graph: Any, nodes: list[Any], inside: set[str], outside: list[str]) -> Any:
    """A GraphDef of the nodes, which reads placeholders instead of what is outside."""
    body = tf.compat.v1.GraphDef()
    whole = graph.as_graph_def()
    body.versions.CopyFrom(whole.versions)
    body.library.CopyFrom(whole.library)
    number = {name: i for i, name in enumerate(outside)}
    for operation in nodes:
        node = body.node.add()
        node.CopyFrom(operation.node_def)
        node.device = ""
        for place in PLACES:
            node.attr.pop(place, None)
        del node.input[:]
        node.input.extend(
            tensor.name if tensor.op.name in inside else _placeholder(number[tensor.name])
            for tensor in operation.inputs
        )
        node.input.extend(
            f"^{control.name}" for control in operation.control_inputs if control.name in inside
        )
    return body
