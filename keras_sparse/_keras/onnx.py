"""``to_onnx`` converts a traced function by tf2onnx, with what Keras mends in it and one more."""

from typing import Any

import numpy as np


def to_onnx(function: Any, path: str, opset_version: int | None = None) -> None:
    """Writes an ONNX file; operations that tf2onnx does not know are in it as they are.

    Args:
        function: a concrete function of TensorFlow.
        path: file to write.
        opset_version: of ONNX; None: tf2onnx' default.
    """
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()
    tf2onnx.convert.from_function(
        _Traced(function),
        input_signature=(),
        opset=opset_version,
        output_path=path,
        custom_op_handlers={"Erfc": (_erfc, [])},
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
