"""Which part of a train step runs on TPUs, and does it hold nothing that TPUs lack?  TensorFlow's own passes cut it out, too."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_sparse.tpu_check._tensorflow import HOST, functions_called, ops_with_kernels

MARK = "_tpu_replicate"  # the attribute of all nodes that run on every replica
METADATA = "TPUReplicateMetadata"
# What every XLA backend lowers, and the collectives that only TensorFlow's builds for TPUs link.
LOWERED_EVERYWHERE, LOWERED_FOR_TPU = "XLA_CPU_JIT", "XLA_TPU_JIT"
COLLECTIVES = {"AllToAll", "CrossReplicaSum"}
LAST_PASS = "tf-replicated-clustering-bridge-v2"


class NotForTpuError(Exception):
    """What TPUs would refuse, and why."""


@dataclasses.dataclass(frozen=True)
class Clusters:
    """What TensorFlow's clustering passes make of a step.

    Args:
        compiled: parts that are compiled for TPUs, each as a whole.
        on_host: parts that TPUs have to send to their host, and wait for, in the middle of a step.
        left: nodes that are marked as replicated and in no part.
    """

    compiled: int
    on_host: int
    left: int


def nodes_in_cluster(graph: Any) -> list[Any]:
    """The tf.Operations that run on every replica, in the order of the graph."""
    return [
        operation
        for operation in graph.get_operations()
        if MARK in operation.node_def.attr and operation.type != METADATA
    ]


def ops_of_tpus() -> set[str]:
    """Names of the ops that TensorFlow can lower for TPUs, those of libraries loaded before its first function included."""
    _register_kernels()
    return (
        ops_with_kernels([LOWERED_EVERYWHERE, LOWERED_FOR_TPU])
        | COLLECTIVES
        | {"NoOp", "Placeholder"}
    )


@functools.cache
def _register_kernels() -> None:
    """XLA's kernels are registered with the first function that it compiles."""
    tf.function(tf.identity, jit_compile=True)(0.0)


def check_ops(graph: Any) -> int:
    """Looks at every op of the replicated cluster, those of the functions that it calls included.

    Returns:
        How many ops there are.

    Raises:
        NotForTpuError: an op that TPUs do not have, with the names of its nodes; or no cluster.
    """
    nodes = [operation.node_def for operation in nodes_in_cluster(graph)]
    if not nodes:
        raise NotForTpuError(
            "Nothing in the step is replicated: it was not traced under a TPUStrategy."
        )
    known, foreign, count = ops_of_tpus(), set(), 0
    for node in _with_functions(nodes, graph.as_graph_def().library):
        count += 1
        if node.op not in known:
            foreign.add(f"{node.op} ({node.name})")
    if foreign:
        raise NotForTpuError(
            f"TPUs do not have these ops: {', '.join(sorted(foreign))}. Write them with ops that XLA compiles, or run them outside of the step."
        )
    return count


def _with_functions(nodes: list[Any], library: Any) -> Iterator[Any]:
    """The nodes, and those of all functions that they call."""
    functions = {function.signature.name: function for function in library.function}
    seen: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.op not in functions:  # a call by the name of the function is no op
            yield node
        for name in {node.op, *functions_called(node)} & (functions.keys() - seen):
            seen.add(name)
            waiting.extend(functions[name].node_def)


def cluster(function: Any, replicas: int) -> Clusters:
    """Runs the passes that cut a step into clusters on a TPU host, on a traced concrete function.

    Raises:
        NotForTpuError: the passes fail, or make anything else of it than one part that is compiled as a whole.
    """
    devices = ", ".join(
        f'"{HOST}{device}"'
        for device in ("CPU:0", *(f"TPU:{i}" for i in range(replicas)), "TPU_SYSTEM:0")
    )
    module = tf.mlir.experimental.convert_function(function)
    module, told = re.subn(
        r"^module attributes \{",
        f"module attributes {{tf.devices = {{{devices}}}, ",
        module,
        count=1,
        flags=re.MULTILINE,
    )
    if not told:
        raise NotForTpuError(
            "TensorFlow's MLIR does not begin as it did: `module attributes {...}` is missing."
        )
    try:
        clustered = tf.mlir.experimental.run_pass_pipeline(module, LAST_PASS)
    except tf.errors.OpError as error:
        raise NotForTpuError(f"TensorFlow's clustering passes fail: {error.message}") from error
    found = Clusters(
        clustered.count('"tf_device.cluster_func"'),
        clustered.count('"tf_device.launch"'),
        clustered.count(f"{MARK} = "),
    )
    if found != Clusters(compiled=1, on_host=0, left=0):
        raise NotForTpuError(
            f"The step must be compiled as one part, with nothing on the host and nothing left over. Received: {found}"
        )
    return found
