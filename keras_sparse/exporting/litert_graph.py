"""The graph of a .tflite file: its operations, and which of their inputs are constant."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_sparse.models.tflite_tensors import dense_constant, flatbuffer

DENSIFY = "DENSIFY"  # makes a sparse constant dense when the file is loaded


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """One operation.

    Attributes:
        kind: LiteRT's name, such as ``"CONV_2D"``.
        version: LiteRT's; version 8 of FULLY_CONNECTED has sparse weights.
        inputs: numbers of tensors.
        outputs: numbers of tensors.
        options: its attributes.
    """

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


class Graph:
    """One graph of a file, the main one or the body of a loop."""

    def __init__(self, model: Any, number: int) -> None:
        self._model, self._graph = model, model.subgraphs[number]
        found = [_operation(model, each) for each in self._graph.operators or []]
        self._sparse = {one.outputs[0]: one.inputs[0] for one in found if one.kind == DENSIFY}
        self.operations = [one for one in found if one.kind != DENSIFY]
        self.outputs = set(map(int, self._graph.outputs))

    @functools.cached_property
    def producers(self) -> dict[int, Operation]:
        """The operation that computes each tensor."""
        return {tensor: one for one in self.operations for tensor in one.outputs}

    def consumers(self, operation: Operation) -> list[Operation]:
        """The operations that read its outputs."""
        return [one for one in self.operations if set(one.inputs) & set(operation.outputs)]

    def constant(self, tensor: int) -> np.ndarray | None:
        """The value of a constant, dense; None for what is computed."""
        return dense_constant(self._model, self._tensor(tensor))

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The sizes of a tensor, the batch as 1."""
        shape = self._graph.tensors[tensor].shape
        return () if shape is None else tuple(map(int, shape))

    def dtype(self, tensor: int) -> int:
        """LiteRT's number of the type."""
        return int(self._tensor(tensor).type)

    def name(self, tensor: int) -> str:
        """The name of a tensor, as far as the converter kept one."""
        return str(self._tensor(tensor).name.decode())

    def sparsity(self, tensor: int) -> str:
        """How a constant is stored: "dense", "sparse", or "1x4 blocks"."""
        found = self._tensor(tensor).sparsity
        if found is None:
            return "dense"
        if found.blockMap is None or not len(found.blockMap):
            return "sparse"
        return f"1x{int(found.dimMetadata[-1].denseSize)} blocks"

    def step(self, tensor: int) -> float | None:
        """The step of int8 that a tensor was rounded to; None for others."""
        before = self.producers.get(tensor)
        if before is not None and before.kind == "DEQUANTIZE":
            tensor = before.inputs[0]
        found = self._tensor(tensor).quantization
        return None if found is None or found.scale is None else float(found.scale[0])

    def named_outputs(self) -> dict[str, int]:
        """{name of an output in the first signature: its number}."""
        outputs = self._model.signatureDefs[0].outputs
        return {each.name.decode(): int(each.tensorIndex) for each in outputs}

    def _tensor(self, tensor: int) -> Any:
        return self._graph.tensors[self._sparse.get(tensor, tensor)]


def graphs_in(path: Path) -> Iterator[Graph]:
    """The graphs of a file, the main one first."""
    model = flatbuffer(path)
    return (Graph(model, number) for number in range(len(model.subgraphs)))


def _operation(model: Any, found: Any) -> Operation:
    code = model.operatorCodes[found.opcodeIndex]
    options = {} if found.builtinOptions is None else vars(found.builtinOptions)
    inputs, outputs = (
        tuple(int(i) for i in each if i >= 0) for each in (found.inputs, found.outputs)
    )
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return Operation(_kinds()[number], int(code.version), inputs, outputs, options)


@functools.cache
def _kinds() -> dict[int, str]:
    from tensorflow.lite.python import schema_py_generated as schema

    names = vars(schema.BuiltinOperator).items()
    return {number: name for name, number in names if isinstance(number, int)}
