"""The part of a training step that runs on TPUs, and whether TPUs have all of its ops."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from keras_sparse.tpu_check._tensorflow import HOST, functions_called, ops_with_kernels

MARK = "_tpu_replicate"  # attribute of each node that runs on every replica
METADATA = "TPUReplicateMetadata"
# Ops that every XLA backend lowers, and collectives that only TensorFlow's builds for TPUs link.
LOWERED_EVERYWHERE, LOWERED_FOR_TPU = "XLA_CPU_JIT", "XLA_TPU_JIT"
COLLECTIVES = {"AllToAll", "CrossReplicaSum"}
LAST_PASS = "tf-replicated-clustering-bridge-v2"


class NotForTpuError(Exception):
    """Something in a step that TPUs refuse, with the reason."""


@dataclasses.dataclass(frozen=True)
class Clusters:
    """The parts into which TensorFlow's clustering passes divide a step.

    Args:
        compiled: number of parts that are compiled for TPUs, each as a whole.
        on_host: number of parts that run on the host in the middle of a step.
        left: number of nodes that are marked as replicated but belong to no part.
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
    """The names of the ops that TensorFlow can lower for TPUs.

    They include the ops of libraries that were loaded before TensorFlow's first function.
    """
    _register_kernels()
    return (
        ops_with_kernels([LOWERED_EVERYWHERE, LOWERED_FOR_TPU])
        | COLLECTIVES
        | {"NoOp", "Placeholder"}
    )


@functools.cache
def _register_kernels() -> None:
    """Compiles a function with XLA, which registers its kernels with the first one."""
    tf.function(tf.identity, jit_compile=True)(0.0)


def check_ops(graph: Any) -> int:
    """Checks every op of the replicated cluster and of the functions that it calls.

    Returns:
        The number of ops.

    Raises:
        NotForTpuError: ops that TPUs do not have, with the names of their nodes; or no cluster.
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
            f"TPUs do not have these ops: {', '.join(sorted(foreign))}. "
            "Write them with ops that XLA compiles, or run them outside the step."
        )
    return count


def _with_functions(nodes: list[Any], library: Any) -> Iterator[Any]:
    """The nodes, and those of all functions that they call."""
    functions = {function.signature.name: function for function in library.function}
    seen: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.op not in functions:  # a function's name as the op is a call, not an op
            yield node
        for name in {node.op, *functions_called(node)} & (functions.keys() - seen):
            seen.add(name)
            waiting.extend(functions[name].node_def)


def cluster(function: Any, replicas: int) -> Clusters:
    """Runs the passes that divide a step into clusters on a TPU host.

    Args:
        function: a traced concrete function.
        replicas: number of TPU cores.

    Raises:
        NotForTpuError: the passes fail, or the result is not one part that is compiled as a whole.
    """
    module = _with_devices(tf.mlir.experimental.convert_function(function), replicas)
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
            "The step must be one compiled part, with nothing on the host and nothing left over. "
            f"Received: {found}"
        )
    return found


def _with_devices(module: str, replicas: int) -> str:
    """The module with a list of the host's devices, which the passes read."""
    names = ("CPU:0", *(f"TPU:{i}" for i in range(replicas)), "TPU_SYSTEM:0")
    devices = ", ".join(f'"{HOST}{name}"' for name in names)
    old, new = "module attributes {", f"module attributes {{tf.devices = {{{devices}}}, "
    module, count = re.subn(f"^{re.escape(old)}", new, module, count=1, flags=re.MULTILINE)
    if not count:
        raise NotForTpuError(
            "TensorFlow's MLIR must contain `module attributes {...}`; this version's does not."
        )
    return module
