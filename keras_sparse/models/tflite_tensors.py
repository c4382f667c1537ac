"""The constants of a .tflite file, those that its converter stored as sparse tensors too."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def is_tflite(path: Path) -> bool:
    """Whether a file begins as every .tflite file does."""
    with path.open("rb") as file:
        return file.read(8)[4:] == b"TFL3"


def flatbuffer(path: Path) -> Any:
    """The content of a .tflite file, an object of TensorFlow's schema."""
    from tensorflow.lite.python import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes(), 0))


def constants(path: Path) -> Iterator[tuple[str, np.ndarray, bool]]:
    """Name, values as the file has them, and whether the file stores them as a sparse tensor.

    Source: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/
    schema/schema.fbs, SparsityParameters.
    """
    model = flatbuffer(path)
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if (values := dense_constant(model, tensor)) is not None:
                yield tensor.name.decode(), values, tensor.sparsity is not None


def dense_constant(model: Any, tensor: Any) -> np.ndarray | None:
    """The value of a constant, sparse or not; None for other tensors, and for other types.

    Raises:
        ValueError: its converter has lost values; see ``has_cut_blocks``.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    kinds = schema.TensorType
    dtypes = {kinds.FLOAT32: "<f4", kinds.FLOAT16: "<f2", kinds.INT8: "i1", kinds.INT32: "<i4"}
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type not in dtypes:
        return None
    values = np.frombuffer(bytes(data), dtypes[tensor.type])
    shape = tuple(np.atleast_1d(tensor.shape).tolist()) if tensor.shape is not None else ()
    is_sparse = tensor.sparsity is not None
    if is_sparse and has_cut_blocks(tensor):
        raise ValueError(
            "LiteRT's converter has lost weights of this file: it stored a kernel in blocks "
            "that do not divide its sizes. Convert the model without sparse kernels. "
            f"Received: {tensor.name.decode()!r} of the shape {shape}"
        )
    return _dense(values, shape, tensor.sparsity) if is_sparse else values.reshape(shape)


def tensors_with_cut_blocks(content: bytes) -> list[str]:
    """The names of tensors in a file that have cut blocks."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    return [tensor.name.decode() for tensor in tensors if has_cut_blocks(tensor)]


def has_cut_blocks(tensor: Any) -> bool:
    """Whether a tensor is stored in blocks that do not divide its sizes.

    LiteRT's converter (of TensorFlow 2.21) makes such tensors of dense layers with fewer inputs
    than a block, among others. It leaves out what is behind the last whole block.
    """
    sparsity = tensor.sparsity
    if sparsity is None or sparsity.blockMap is None:
        return False
    axes = np.asarray(sparsity.blockMap).tolist()
    sizes = [level.denseSize for level in sparsity.dimMetadata[len(tensor.shape) :]]
    return any(tensor.shape[axis] % size for axis, size in zip(axes, sizes, strict=True))


def _dense(values: np.ndarray, shape: tuple[int, ...], sparsity: Any) -> np.ndarray:
    """The array that a sparse tensor stands for.

    Its dimensions, and then those within blocks, are levels in the order of the traversal. A level
    is dense, or lists the indices below each index of the level before.
    """
    levels: dict[int, np.ndarray] = {}  # of each value, its index on the levels so far
    number = 1
    for dimension, level in zip(sparsity.traversalOrder, sparsity.dimMetadata, strict=True):
        if level.arraySegments is None:
            children, indices = np.full(number, level.denseSize), np.arange(level.denseSize)
            indices = np.tile(indices, number)
        else:
            children = np.diff(np.asarray(level.arraySegments.values, np.int64))
            indices = np.asarray(level.arrayIndices.values, np.int64)
        levels = {key: np.repeat(index, children) for key, index in levels.items()}
        levels[int(dimension)] = indices
        number = len(indices)
    places = [levels[axis] for axis in range(len(shape))]
    blocks = [] if sparsity.blockMap is None else np.asarray(sparsity.blockMap).tolist()
    for i, axis in enumerate(blocks):
        inner = levels[len(shape) + i]
        places[axis] = places[axis] * (int(inner.max()) + 1) + inner
    dense = np.zeros(shape, values.dtype)
    dense[tuple(places)] = values
    return dense
