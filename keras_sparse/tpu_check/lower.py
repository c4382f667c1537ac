"""What does TensorFlow give a TPU to compile?  The HLO that its own tf2xla makes of a replica, for XLA_TPU_JIT."""

import ctypes
import dataclasses

from keras_sparse.tpu_check.cluster import NotForTpuError
from keras_sparse.tpu_check.library import load
from keras_sparse.tpu_check.replica import Input, Replica


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A step as a TPU gets it.

    Args:
        hlo: a serialized HloModuleProto. It returns ``outputs`` tensors, then the new values of ``updates``.
        parameters: what it reads, in order.
        outputs: how many tensors it returns: losses and metrics.
        updates: variables that it changes, in order.
    """

    hlo: bytes
    parameters: list[Input]
    outputs: int
    updates: list[Input]


def lower(replica: Replica) -> Lowered:
    """Lowers what one replica computes.

    Raises:
        NotForTpuError: tf2xla refuses it, with the reason.
        CannotLowerError: no compiler, or TensorFlow has run functions before ``load()``.
    """
    library = load()
    graph, function = replica.function.graph.as_graph_def(), replica.function.function_def
    graph.library.function.append(function)
    serialized = graph.SerializeToString()
    arguments = "\n".join(map(_argument, replica.inputs)).encode()
    failed = library.keras_sparse_tpu_lower(
        serialized, ctypes.c_size_t(len(serialized)), function.signature.name.encode(), arguments
    )
    message = library.keras_sparse_tpu_message().decode()
    if failed:
        raise NotForTpuError(
            f"TensorFlow cannot lower the step for TPUs: {message.splitlines()[0]}"
        )
    size = ctypes.c_size_t()
    hlo = ctypes.string_at(library.keras_sparse_tpu_answer(ctypes.byref(size)), size.value)
    parameters, outputs, updates = (
        list(map(int, line.split()[1:])) for line in message.splitlines()
    )
    return Lowered(
        hlo,
        [replica.inputs[i] for i in parameters],
        outputs[0],
        [replica.inputs[i] for i in updates],
    )


def _argument(one: Input) -> str:
    """As tpu_lower.cc reads it."""
    kind = "variable" if one.is_variable else "tensor"
    return " ".join(map(str, (kind, one.dtype.as_datatype_enum, *one.shape)))
