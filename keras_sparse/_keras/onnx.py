"""``to_onnx`` converts a traced function by tf2onnx, with what Keras mends in it and one more."""

from typing import Any

import numpy as np


def to_onnx(
    function: Any,
    path: str,
    opset_version: int | None = None,
    weights: dict[str, np.ndarray] | None = None,
) -> None:
    """Writes an ONNX file; operations that tf2onnx does not know are in it as they are.

    Args:
        function: a concrete function of TensorFlow.
        path: file to write.
        opset_version: of ONNX; None: tf2onnx' default.
        weights: {name of an input: what is in the file in its place}.
    """
    import onnx
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()
    model, _ = tf2onnx.convert.from_function(
        _Traced(function),
        input_signature=(),
        opset=opset_version,
        custom_op_handlers={"Erfc": (_erfc, [])},
    )
    if weights:
        _put_in(model.graph, weights)
    onnx.save_model(model, path)


def _put_in(graph: Any, weights: dict[str, np.ndarray]) -> None:
    """Puts weights in the place of inputs, in the layout in which convolutions read them."""
    import onnx

    arrays = dict(weights)
    for node in [node for node in graph.node if node.op_type == "Transpose"]:
        if node.input[0] in weights:
            (axes,) = (each.ints for each in node.attribute if each.name == "perm")
            arrays[node.output[0]] = weights[node.input[0]].transpose(axes)
            graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for each in [each for each in graph.input if each.name in weights]:
        graph.input.remove(each)
    for name, array in arrays.items():
        if name in read or name not in weights or _is_read_inside(graph, name):
            graph.initializer.append(onnx.numpy_helper.from_array(array, name))


def _is_read_inside(graph: Any, name: str) -> bool:
    """Whether a branch or a loop reads it."""
    inner = [each.g for node in graph.node for each in node.attribute if each.HasField("g")]
    return any(
        _is_read_inside(one, name) or any(name in node.input for node in one.node) for one in inner
    )


class _Traced:
    """What tf2onnx takes: an object that gives a concrete function."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def get_concrete_function(self, *_: Any) -> Any:
        return self._function


def _erfc(graph: Any, node: Any, name: str, _: Any) -> None:
    """Erfc(x) = 1 - Erf(x): Keras' exact GELU has it, and tf2onnx does not know it."""
    (inputs,), (output,) = node.input, node.output
    dtype, shape = graph.get_dtype(output), graph.get_shape(output)
    graph.remove_node(node.name)
    one = graph.make_const(f"{name}_one", np.ones((), np.float32))
    erf = graph.make_node("Erf", [inputs])
    graph.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=[output], dtypes=[dtype], shapes=[shape]
    )
