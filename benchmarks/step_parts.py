"""Divides the time of a training step into convolutions, normalization, optimizer and so on.

TensorFlow's profile gives the durations of all operations of some steps. They are added up by part,
as shares of the step's measured time. With one thread on an idle machine they add up to that time
without scaling.
"""

import collections
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

STEPS = 3
REST = "other"

# {part: texts of which one is in the operation's type or in its path in the graph}; the first part
# that fits counts.
PARTS = {
    "sparse, forward": (
        *("KerasSparse>Conv2D|", "KerasSparse>Conv2DWithBias|", "KerasSparse>Conv2DWithSum|"),
        *("KerasSparse>MatMul|", "KerasSparse>MatMulWithBias|"),
    ),
    "sparse, input gradient": (
        *("KerasSparse>Conv2DInputGradient", "KerasSparse>MatMulInputGradient"),
    ),
    "sparse, weight gradient": (
        *("KerasSparse>Conv2DKernelGradient", "KerasSparse>MatMulKernelGradient"),
    ),
    "dense convolution, forward": (
        *("|_MklNativeConv2D|", "|_MklNativeFusedConv2D|", "|Conv2D|", "|_FusedConv2D|"),
    ),
    "dense convolution, input gradient": ("Conv2DBackpropInput",),
    "dense convolution, weight gradient": ("Conv2DBackpropFilter",),
    "dense layers": ("MatMul",),
    "batch normalisation": ("batch_norm", "FusedBatchNorm", "Tile|"),
    "ReLU": ("Relu",),
    "pooling": ("Pool",),
    "optimizer": ("Momentum", "sgd", "SGD", "Adam", "adam", "optimizer"),
    "masks": ("_mask", "LogicalOr|", "Cast|"),
    "sums of branches and of their gradients": ("AddN|", "/add", "AddV2|"),
}
# Operations that hold other operations.
CALLS = {
    *("PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While"),
    *("StatelessWhile", "XlaLaunch"),
}
# What TensorFlow puts in when it rewrites a graph.
REWRITTEN = {
    "_MklMatMul",
    *(f"_MklNative{kind}" for kind in ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput")),
    *(f"_MklNative{kind}" for kind in ("FusedConv2D", "Conv2DBackpropFilterWithBias")),
    *(f"_MklNative{kind}" for kind in ("FusedBatchNormV3", "FusedBatchNormGradV3")),
    *(f"_MklNative{kind}" for kind in ("FusedBatchNormEx", "MaxPool", "MaxPoolGrad")),
    *("_MklNativeFusedMatMul", "_FusedConv2D", "_FusedMatMul", "_FusedBatchNormEx"),
    *("KerasSparse>Conv2DWithBias", "KerasSparse>MatMulWithBias"),
    *("KerasSparse>Conv2DWithSum", "KerasSparse>Conv2DInputGradientWithSum"),
}


def parts_of(step: Callable[[], Any], seconds: float) -> dict[str, float]:
    """Seconds of a step by part.

    Args:
        step: makes one step and waits for it.
        seconds: what a step takes when it is not profiled.
    """
    durations: collections.Counter[str] = collections.Counter()
    for operation, path, duration in _operations(step):
        durations[part_of(operation, path)] += duration
    total = sum(durations.values())
    return {part: seconds * duration / total for part, duration in durations.most_common()}


def part_of(operation: str, path: str) -> str:
    """What an operation of this type, of this path in the graph, belongs to."""
    text = f"{path}|{operation}|"
    return next(
        (part for part, texts in PARTS.items() if any(word in text for word in texts)), REST
    )


def _operations(step: Callable[[], Any]) -> list[tuple[str, str, float]]:
    """Type, path and seconds of every operation that ran."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(STEPS):
                step()
        space = xplane_pb2.XSpace.FromString(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    known, found = _operation_types(), []
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                path, _, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if path and operation in known:
                    found.append((operation, path, event.duration_ps / 1e12))
    return found


def _operation_types() -> set[str]:
    """TensorFlow's, those of libraries that were loaded, and those of rewritten graphs."""
    from tensorflow.python.framework import op_def_registry

    names = (*dir(tf.raw_ops), *op_def_registry._cache)
    return {name for name in names if name[0].isupper()} - CALLS | REWRITTEN
