"""Which 1x1 convolutions of a .tflite file XNNPACK computes sparse on ARM, and why not the others.

XNNPACK looks for clusters of operations. One begins with a 3x3 convolution of 3 channels, goes on
with 1x1 and depthwise convolutions, and ends with a mean over height and width. An operation of
another kind within a cluster makes all of it dense.

Source: https://github.com/google/XNNPACK/blob/master/src/subgraph.c, xnn_check_nchw_compatibility
and xnn_subgraph_rewrite_for_nchw.
"""

import numpy as np

from keras_sparse.exporting.litert_graph import Graph, Operation

SAME = 0  # LiteRT's number of this padding
UNARY = {
    *("ABS", "CEIL", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOGISTIC", "NEG"),
    *("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SQRT", "SQUARE", "TANH"),
}
FEWEST_ZEROS = 2 / 3  # of all weights of a cluster's 1x1 convolutions


def why_dense_on_arm(graph: Graph) -> dict[Operation, str | None]:
    """For each CONV_2D, why XNNPACK computes it dense on ARM; None where it does not."""
    found: dict[Operation, str | None] = {}
    convolutions = [one for one in graph.operations if one.kind == "CONV_2D"]
    for one in convolutions:
        if (why := _own_reason(graph, one)) is not None:
            found[one] = why
            continue
        cluster = _cluster(graph, one)
        found[one] = _why_not_whole(graph, cluster) or _why_too_dense(graph, cluster)
    return found


def _own_reason(graph: Graph, one: Operation) -> str | None:
    """Why a convolution is none of those that XNNPACK has sparse kernels for."""
    height, width, channels = graph.shape(one.inputs[1])[1:]
    options = one.options
    if (height, width) != (1, 1):
        return f"it is {height}x{width}, and XNNPACK's sparse kernels are 1x1"
    if (options["strideH"], options["strideW"]) != (1, 1):
        return "it has strides, and XNNPACK's sparse kernels have none"
    if graph.shape(one.inputs[0])[-1] != channels:
        return "it has groups, and XNNPACK's sparse kernels have none"
    return None


def _begins(graph: Graph, one: Operation) -> bool:
    """Whether a cluster may begin here: 3x3, 3 channels, strides of 2, 1 pixel of padding."""
    if one.kind != "CONV_2D" or graph.shape(one.inputs[1])[1:] != (3, 3, 3):
        return False
    strides = one.options["strideH"], one.options["strideW"]
    return strides == (2, 2) and _padding(graph, one) == 1


def _ends(graph: Graph, one: Operation) -> bool:
    """Whether a cluster may end here."""
    if one.kind == "MEAN":
        axes = graph.constant(one.inputs[1])
        is_global = axes is not None and sorted(np.atleast_1d(axes) % 4) == [1, 2]
        return is_global and bool(one.options["keepDims"]) and _has_four_axes(graph, one)
    return one.kind == "DEPTH_TO_SPACE"


def _goes_on(graph: Graph, one: Operation) -> bool:
    """Whether an operation may be within a cluster."""
    if one.kind == "CONV_2D":
        return _own_reason(graph, one) is None
    if one.kind == "DEPTHWISE_CONV_2D":
        height, width = graph.shape(one.inputs[1])[1:3]
        strides = one.options["strideH"], one.options["strideW"]
        dilation = one.options["dilationHFactor"], one.options["dilationWFactor"]
        return (
            (height, width) in ((3, 3), (5, 5))
            and strides in ((1, 1), (2, 2))
            and dilation == (1, 1)
            and one.options["depthMultiplier"] == 1
            and _padding(graph, one) == height // 2
        )
    if one.kind == "PAD":  # it becomes a part of the convolution behind it
        return any(_padding(graph, each) is not None for each in graph.consumers(one))
    return (one.kind in {*UNARY, "ADD", "MUL", "RESIZE_BILINEAR"}) and _has_four_axes(graph, one)


def _has_four_axes(graph: Graph, one: Operation) -> bool:
    computed = [each for each in one.inputs if graph.constant(each) is None]
    return all(len(graph.shape(each)) == 4 for each in computed)


def _padding(graph: Graph, one: Operation) -> int | None:
    """Pixels on each side, the same on all; None where sides differ, as for SAME with strides."""
    if "padding" not in one.options or one.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return None
    if one.options["padding"] == SAME:
        size = graph.shape(one.inputs[1])[1]
        return size // 2 if one.options["strideH"] == one.options["strideW"] == 1 else None
    before = graph.producers.get(one.inputs[0])
    if before is None or before.kind != "PAD":
        return 0
    sides = graph.constant(before.inputs[1])
    if sides is None or sides.shape != (4, 2) or sides[0].any() or sides[3].any():
        return None
    return int(sides[1, 0]) if np.all(sides[1:3] == sides[1, 0]) else None


def _cluster(graph: Graph, start: Operation) -> list[Operation]:
    """The operations that are joined with this one by tensors in the same layout."""
    found, waiting = [start], [start]
    while waiting:
        one = waiting.pop()
        near = [] if _begins(graph, one) else _computing_inputs(graph, one)
        near += [] if _ends(graph, one) else graph.consumers(one)
        for each in near:
            allowed = _begins(graph, each) or _goes_on(graph, each) or _ends(graph, each)
            if allowed and each not in found:
                found.append(each)
                waiting.append(each)
    return found


def _computing_inputs(graph: Graph, one: Operation) -> list[Operation]:
    return [graph.producers[each] for each in one.inputs if each in graph.producers]


def _why_not_whole(graph: Graph, cluster: list[Operation]) -> str | None:
    """Which operation beside a cluster makes it dense."""
    for one in cluster:
        if not _begins(graph, one):
            if any(each not in cluster for each in _computing_inputs(graph, one)):
                outside = next(e for e in _computing_inputs(graph, one) if e not in cluster)
                return f"{_text(graph, outside)} before it is outside of XNNPACK's rules"
            if all(
                graph.constant(each) is not None or each not in graph.producers
                for each in one.inputs
            ):
                return "no 3x3 convolution of 3 channels, strides of 2 and padding of 1 begins it"
        if not _ends(graph, one):
            outside_after = [each for each in graph.consumers(one) if each not in cluster]
            if outside_after or set(one.outputs) & graph.outputs:
                what = _text(graph, outside_after[0]) if outside_after else "the output"
                return f"{what} behind it is outside of XNNPACK's rules"
    return None


def _why_too_dense(graph: Graph, cluster: list[Operation]) -> str | None:
    kernels = [
        graph.constant(one.inputs[1])
        for one in cluster
        if one.kind == "CONV_2D" and not _begins(graph, one)
    ]
    size = sum(each.size for each in kernels if each is not None)
    zeros = sum(each.size - np.count_nonzero(each) for each in kernels if each is not None)
    if size and zeros > FEWEST_ZEROS * size:
        return None
    return f"{zeros / max(size, 1):.0%} of the weights in its cluster are 0, and 2/3 must be"


def _text(graph: Graph, one: Operation) -> str:
    """An operation as a reader knows it."""
    if one.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        height, width = graph.shape(one.inputs[1])[1:3]
        side = _padding(graph, one)
        padding = "uneven padding" if side is None else f"padding of {side}"
        strides = f"strides of {one.options['strideH']}, {padding}"
        return f"{one.kind} ({height}x{width}, {strides})"
    return one.kind
