"""The computation of one replica: the body of the replicated cluster, as a function."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from keras_sparse.tpu_check._tensorflow import content_of, copy_content, handles
from keras_sparse.tpu_check.cluster import MARK, NotForTpuError, nodes_in_cluster
from keras_sparse.tpu_check.train_step import TrainStep

OUTPUT = "TPUReplicatedOutput"
# Attributes that place a node on a device.
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
    """An input of a replica.

    Args:
        name: the path of a variable, "batch 0" for the first tensor of the batch, or "replica" for
            the number of the replica.
        dtype: dtype of the variable's value, or of the tensor.
        shape: shape of the variable's value, or of one replica's part of the tensor.
        is_variable: True for a variable, False for a tensor.
    """

    name: str
    dtype: tf.DType
    shape: tuple[int, ...]
    is_variable: bool


@dataclasses.dataclass(frozen=True)
class Replica:
    """The computation of one replica.

    Args:
        function: a concrete function of variables and tensors that captures nothing.
        inputs: its inputs, in order.
    """

    function: Any
    inputs: list[Input]


def cut_out(step: TrainStep) -> Replica:
    """The replicated part of a step, without what surrounds it on the host."""
    nodes = nodes_in_cluster(step.function.graph)
    outside = _outside(nodes)
    found = {name: _constants(tensor) for name, tensor in outside.items()}
    constants = {name: values[0] for name, values in found.items() if len(values) == 1}
    names = _Names(step)
    inputs = {
        name: names.input(_of_first_replica(tensor))
        for name, tensor in outside.items()
        if name not in constants
    }
    run = _runner(step.function.graph, nodes, outside)

    def replica(*arguments: Any) -> Any:
        for argument, name in zip(arguments, inputs, strict=True):
            if inputs[name].is_variable:
                copy_content(argument, _of_first_replica(outside[name]))
        values = {name: tf.constant(value) for name, value in constants.items()}
        return run(values | dict(zip(inputs, arguments, strict=True)))

    signature = [
        tf.TensorSpec([], tf.resource) if one.is_variable else tf.TensorSpec(one.shape, one.dtype)
        for one in inputs.values()
    ]
    return Replica(tf.compat.v1.wrap_function(replica, signature), list(inputs.values()))


def _outside(nodes: list[Any]) -> dict[str, Any]:
    """``{name: tensor}`` of what the nodes read from outside of them."""
    inside = {operation.name for operation in nodes}
    return {
        tensor.name: tensor
        for operation in nodes
        for tensor in operation.inputs
        if tensor.op.name not in inside
    }


def _runner(graph: Any, nodes: list[Any], outside: Mapping[str, Any]) -> Callable[[Any], Any]:
    """A function of ``{name of an outside tensor: value}`` that runs the nodes."""
    body = _body(graph, nodes, list(outside))
    returned = [
        operation.inputs[0].name for operation in graph.get_operations() if operation.type == OUTPUT
    ]
    effects = [operation.name for operation in nodes if operation.op_def.is_stateful]

    def run(values: Mapping[str, Any]) -> Any:
        fed = {_placeholder(i): values[name] for i, name in enumerate(outside)}
        found = tf.graph_util.import_graph_def(body, fed, returned + effects, name="")
        with tf.control_dependencies(found[len(returned) :]):
            return [tf.identity(tensor) for tensor in found[: len(returned)]]

    return run


class _Names:
    """The variable, or the tensor of the batch, behind each tensor that the cluster reads."""

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
        # Replica after replica.
        self.batch: Mapping[str, str] = {
            name: f"batch {i // step.replicas}" for i, name in enumerate(fed)
        }

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
    """The value of a constant that is equal on all replicas; [] for other tensors.

    Raises:
        NotForTpuError: the values differ and are not the numbers of the replicas.
    """
    sources = list(tensor.op.inputs) if tensor.op.type == "TPUReplicatedInput" else [tensor]
    values = [tf.get_static_value(source) for source in sources]
    if any(value is None for value in values):
        return []
    if all(np.array_equal(value, values[0]) for value in values):
        return values[:1]
    if [value.tolist() for value in values] != list(range(len(values))):
        raise NotForTpuError(
            "A constant must have the same value on all replicas. "
            f"Received: {tensor.name} with different values"
        )
    return values


def _of_first_replica(tensor: Any) -> Any:
    return tensor.op.inputs[0] if tensor.op.type == "TPUReplicatedInput" else tensor


def _placeholder(i: int) -> str:
    return f"from_outside_{i}:0"


def _body(graph: Any, nodes: list[Any], outside: list[str]) -> Any:
    """A GraphDef of the nodes; placeholders take the place of tensors from outside."""
    body = tf.compat.v1.GraphDef()
    whole = graph.as_graph_def()
    body.versions.CopyFrom(whole.versions)
    body.library.CopyFrom(whole.library)
    inside = {operation.name for operation in nodes}
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
