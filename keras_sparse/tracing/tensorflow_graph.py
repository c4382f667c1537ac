"""A traced TensorFlow call as a graph of products."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.tracing.products import DATA, UNKNOWN, Graph, Operation, Origins


def trace(
    call: Callable[[Any], Any], inputs: Any, weights: Sequence[Any]
) -> tuple[Graph, list[Origins]]:
    """The graph of ``call(inputs)`` and the origins of its inputs.

    Nothing is computed, and no variable changes.

    Args:
        call: the function to trace.
        inputs: a structure of keras.KerasTensor, with known shapes.
        weights: the keras.Variables to find in the graph.
    """
    import tensorflow as tf

    specs = keras.tree.map_structure(_spec, inputs)
    with keras.StatelessScope():
        traced = tf.function(call, autograph=False).get_concrete_function(specs).graph
    handles = {id(handle): i for i, weight in enumerate(weights) for handle in _handles(weight)}
    captured = {inner.name: handles.get(id(outer)) for outer, inner in traced.captures}
    graph = _graph(traced)
    return graph, [_origins(name, captured) for name in graph.inputs]


def _spec(tensor: Any) -> Any:
    import tensorflow as tf

    kind = tf.SparseTensorSpec if tensor.sparse else tf.TensorSpec
    return kind(tensor.shape, tensor.dtype)


def _handles(weight: Any) -> list[Any]:
    """The handles by which a graph captures a variable, one for each device."""
    return [copy.handle for copy in getattr(weight.value, "values", [weight.value])]


def _origins(name: Any, captured: dict[str, int | None]) -> Origins:
    if name not in captured:
        return frozenset({DATA})
    weight = captured[name]
    return frozenset() if weight is None else frozenset({weight})


def _graph(traced: Any) -> Graph:
    operations = tuple(_operation(op) for op in traced.get_operations() if op.type != "Placeholder")
    return Graph(_names(traced.inputs), _names(traced.outputs), operations)


def _names(tensors: Sequence[Any]) -> tuple[str, ...]:
    return tuple(tensor.name for tensor in tensors)


def _operation(op: Any) -> Operation:
    inputs, outputs = _names(op.inputs), _names(op.outputs)
    if op.type in ("Shape", "ShapeN", "Size", "Rank"):
        return Operation((), outputs)  # a shape does not depend on the values
    if op.type in ("If", "StatelessIf", "Case", "StatelessCase"):
        return Operation(inputs, outputs, bodies=_bodies(op), body_inputs=inputs[1:])
    if op.type in ("PartitionedCall", "StatefulPartitionedCall"):
        return Operation(inputs, outputs, bodies=_bodies(op), body_inputs=inputs)
    if op.type in ("While", "StatelessWhile"):
        same = tuple((i, i) for i in range(len(inputs)))
        times = UNKNOWN if (most := _constant(op.inputs[1])) is None else float(most)
        return Operation(inputs, outputs, 0, (), _bodies(op), inputs, times, same)
    number, operands = _product(op)
    sized = tuple((tensor.name, tensor.shape.num_elements() or 0) for tensor in operands)
    return Operation(inputs, outputs, number, sized)


def _bodies(op: Any) -> tuple[Graph, ...]:
    names = {"If": ("then_branch", "else_branch"), "Wh": ("body",), "Ca": ("branches",)}
    kind = op.type.removeprefix("Stateless")[:2]
    found: list[Any] = []
    for name in names.get(kind, ("f",)):
        functions = op.get_attr(name)
        found += functions if isinstance(functions, list) else [functions]
    return tuple(_graph(op.graph._get_function(function.name).graph) for function in found)


def _constant(tensor: Any) -> Any:
    """The value of a tensor that is known while tracing, or None.

    The maximum of a known tensor is known, too: RNNs compute their number of steps as one.
    """
    import tensorflow as tf

    value = tf.get_static_value(tensor)
    if value is None and tensor.op.type in ("Max", "Minimum", "Identity", "Cast"):
        parts = [_constant(each) for each in tensor.op.inputs]
        if tensor.op.type != "Max":
            return None if None in parts else min(parts)
        value = None if parts[0] is None else np.max(parts[0])
    return value


def _product(op: Any) -> tuple[float, tuple[Any, ...]]:
    """The multiply-adds of an operation, and the tensors that it multiplies."""
    if op.type in ("PyFunc", "EagerPyFunc", "PyFuncStateless", "XlaCallModule"):
        return UNKNOWN, ()
    if op.type == "Sum" and op.inputs[0].op.type == "Mul":  # additive attention
        factors = tuple(op.inputs[0].op.inputs)
        return (0 if 1 in map(_elements, factors) else _elements(op.inputs[0])), factors
    if op.type not in PRODUCTS:
        return 0, ()
    number, operands = PRODUCTS[op.type](op)
    return number, operands


def _elements(tensor: Any) -> float:
    number = tensor.shape.num_elements()
    return UNKNOWN if number is None else number


def _matmul(op: Any) -> tuple[float, tuple[Any, ...]]:
    names = {"adj_x", "transpose_a"} & {attribute.name for attribute in op.op_def.attr}
    transposed = any(op.get_attr(name) for name in names)
    inner = op.inputs[0].shape[-2 if transposed else -1]
    return UNKNOWN if inner is None else _elements(op.outputs[0]) * inner, tuple(op.inputs[:2])


def _convolution(op: Any) -> tuple[float, tuple[Any, ...]]:
    return _outputs(op) * math.prod(op.inputs[1].shape[:-1]), tuple(op.inputs[:2])


def _depthwise(op: Any) -> tuple[float, tuple[Any, ...]]:
    return _outputs(op) * math.prod(op.inputs[1].shape[:-2]), tuple(op.inputs[:2])


def _outputs(op: Any) -> float:
    """The number of outputs of a convolution; of a dilated one, after its padding is cut off."""
    output = op.outputs[0]
    for kind in ("Squeeze", "BatchToSpaceND"):
        followers = output.consumers()
        if len(followers) == 1 and followers[0].type == kind:
            output = followers[0].outputs[0]
    return _elements(output)


def _transposed(op: Any) -> tuple[float, tuple[Any, ...]]:
    _, kernel, inputs = op.inputs
    return _elements(inputs) * math.prod(kernel.shape[:-1]), (inputs, kernel)


def _einsum(op: Any) -> tuple[float, tuple[Any, ...]]:
    if len(op.inputs) == 1:
        return 0, ()
    sizes: dict[str, int | None] = {}
    equation = op.get_attr("equation").decode().split("->")[0].split(",")
    for labels, tensor in zip(equation, op.inputs, strict=True):
        shape = list(tensor.shape)
        before, _, after = labels.partition("...")
        sizes.update(zip(before, shape, strict=False))
        sizes.update(zip(after[::-1], shape[::-1], strict=False))
        if "..." in labels:
            for i, size in enumerate(reversed(shape[len(before) : len(shape) - len(after)])):
                sizes[f"...{i}"] = max(size or 0, sizes.get(f"...{i}") or 0)
    known = [size for size in sizes.values() if size is not None]
    return UNKNOWN if len(known) < len(sizes) else math.prod(known), tuple(op.inputs)


PRODUCTS: dict[str, Callable[[Any], tuple[float, tuple[Any, ...]]]] = {
    **dict.fromkeys(("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"), _matmul),
    **dict.fromkeys(("SparseMatMul", "KerasSparseMatMul"), _matmul),
    **dict.fromkeys(("Conv2D", "Conv3D", "KerasSparseConv2D"), _convolution),
    "DepthwiseConv2dNative": _depthwise,
    **dict.fromkeys(("Conv2DBackpropInput", "Conv3DBackpropInputV2"), _transposed),
    "Einsum": _einsum,
}
