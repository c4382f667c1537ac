"""Each layer of a .tflite file: how its kernel is stored, and whether zeros make it faster where.

Measured on an AMD EPYC (Zen 5), one thread: dense layers with blocks of 4 inputs at a density of
0.1 run 2.7 (1024 x 1024) and 4.9 times (4096 x 4096) as fast as dense at batch 1, and as fast as
dense at batch 32. In int8, with blocks of 16 inputs at batch 1, they run 0.5 and 1.3 times as fast.
"""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import to_float32
from keras_sparse.exporting.litert_graph import Graph, Operation, graphs_in
from keras_sparse.exporting.xnnpack_rules import why_dense_on_arm

KINDS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
OFF_ON_X86 = "no: XNNPACK's sparse kernels are off where AVX is"
SPARSE_KERNEL = "yes at batch 1, by LiteRT's kernel for blocks"
SPARSE_INT8_KERNEL = "hardly: LiteRT's kernel for blocks gains only in large layers"
NO_BLOCKS = "no: LiteRT's sparse kernel needs blocks of 4 inputs (16 in int8)"
MEETS_THE_RULES = "yes: XNNPACK has a sparse kernel for it"
TOO_FEW_ZEROS = "no: less than 30 % zeros"


@dataclasses.dataclass(frozen=True)
class LayerSpeed:
    """One operation with a kernel.

    Attributes:
        name: path of the weight in the model, or the converter's name.
        kind: LiteRT's name of the operation.
        shape: of the kernel in the file: (outputs, ..., inputs).
        density: nonzeros / all weights of the kernel.
        stored: "dense", "sparse" or "1x4 blocks".
        on_x86: whether it is faster than dense on processors with AVX, and why not.
        on_arm: the same on ARM, by the rules of the runtimes. We have not measured there.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    density: float
    stored: str
    on_x86: str
    on_arm: str


def layers_in(path: Path, model: keras.Model) -> tuple[LayerSpeed, ...]:
    """The operations of a file with kernels, in its order.

    Args:
        path: a .tflite file.
        model: what it was written of; its kernels have the names.
    """
    names = {v.path: to_float32(v) != 0 for v in model.weights if len(v.shape) > 1}
    rows = []
    for graph in graphs_in(path):
        why = why_dense_on_arm(graph)
        for one in graph.operations:
            values = graph.constant(one.inputs[1]) if one.kind in KINDS else None
            if values is not None:
                rows.append(_row(graph, one, values, why.get(one), names))
    return tuple(rows)


def _row(
    graph: Graph, one: Operation, values: np.ndarray, why: str | None, names: dict[str, Any]
) -> LayerSpeed:
    density = float(np.mean(values != 0))
    stored = graph.sparsity(one.inputs[1])
    on_x86, on_arm = _speeds(one, stored, density, why, values.dtype == np.int8)
    name = _name(values != 0, names) or graph.name(one.inputs[1])
    return LayerSpeed(name, one.kind, values.shape, density, stored, on_x86, on_arm)


def _speeds(
    one: Operation, stored: str, density: float, why: str | None, is_int8: bool
) -> tuple[str, str]:
    """Whether it is faster than dense: on x86, on ARM."""
    if density > 0.7:
        return TOO_FEW_ZEROS, TOO_FEW_ZEROS
    if one.kind == "FULLY_CONNECTED":
        has_blocks = SPARSE_INT8_KERNEL if is_int8 else SPARSE_KERNEL
        found = has_blocks if stored.endswith("blocks") else NO_BLOCKS
        return found, found
    if one.kind != "CONV_2D":
        neither = "no: no runtime has a sparse kernel for it"
        return neither, neither
    if is_int8:
        return OFF_ON_X86, "no: XNNPACK's sparse kernels compute in float"
    return OFF_ON_X86, MEETS_THE_RULES if why is None else f"no: {why}"


def _name(nonzero: np.ndarray, names: dict[str, Any]) -> str | None:
    """The model's kernel with these places of nonzeros, which is no candidate from then on.

    Int8 rounds some weights to 0.
    """
    for path, found in names.items():
        places = np.moveaxis(found, -1, 0)
        if places.shape != nonzero.shape or np.any(nonzero & ~places):
            continue
        if np.count_nonzero(nonzero) >= 0.9 * np.count_nonzero(places):
            del names[path]
            return path
    return None
