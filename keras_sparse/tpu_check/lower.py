"""Lowers one replica's step to the HLO that TensorFlow's tf2xla gives a TPU to compile."""

import ctypes
import dataclasses

from keras_sparse.tpu_check.cluster import NotForTpuError
from keras_sparse.tpu_check.library import load
from keras_sparse.tpu_check.replica import Input, Replica


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A step in the form that a TPU receives.

    Args:
        hlo: a serialized HloModuleProto. It returns ``outputs`` tensors, then the new values of
            ``updates``.
        parameters: its inputs, in order.
        outputs: number of tensors that it returns: losses and metrics.
        updates: the variables that it changes, in order.
    """

    hlo: bytes
    parameters: list[Input]
    outputs: int
    updates: list[Input]


def lower(replica: Replica) -> Lowered:
    """Lowers the computation of one replica.

    Raises:
        NotForTpuError: tf2xla refuses it, with the reason.
        CannotLowerError: there is no compiler, or TensorFlow has run functions before ``load()``.
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
    """An input in the format of tpu_lower.cc."""
    kind = "variable" if one.is_variable else "tensor"
    return " ".join(map(str, (kind, one.dtype.as_datatype_enum, *one.shape)))
