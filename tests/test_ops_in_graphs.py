"""The ops in graphs: unknown shapes, loops, saved models, gradients that nobody asks for."""

import numpy as np
import pytest
from oracle import assert_close, conv, dense, needs_ops, results

import keras_sparse as ks

tf = pytest.importorskip("tensorflow")
pytestmark = needs_ops


def test_gradients_nobody_asks_for_are_not_in_the_graph():
    case = conv()

    @tf.function
    def input_gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = case.run(inputs, tf.constant(case.kernel), False, "custom_op")
        return tape.gradient(outputs, inputs)

    function = input_gradient.get_concrete_function(tf.constant(case.inputs))
    assert "KerasSparse>Conv2DKernelGradient" not in {
        op.type for op in function.graph.get_operations()
    }
    assert np.isfinite(input_gradient(tf.constant(case.inputs))).all()


@pytest.mark.parametrize(
    "shape", [(None, None, None, 5), (None, 9, None, 5), (None, None, None, None), None]
)
def test_shapes_that_are_not_known_when_traced(shape):
    case = conv(strides=2, padding="same")
    function = tf.function(
        lambda inputs: results(case._replace(inputs=inputs), False, "custom_op"),
        input_signature=[tf.TensorSpec(shape)],
    )
    assert_close(function(case.inputs), results(case, False, "oracle"))


@pytest.mark.parametrize("shape", [(None, 20), (None, None, 20), (None, None), None])
def test_rows_that_are_not_known_when_traced(shape):
    case = dense((3, 20) if shape is None or len(shape) == 2 else (2, 3, 20))
    function = tf.function(
        lambda inputs: results(case._replace(inputs=inputs), False, "custom_op"),
        input_signature=[tf.TensorSpec(shape)],
    )
    assert_close(function(case.inputs), results(case, False, "oracle"))


def test_static_shapes_go_through():
    outputs = []

    @tf.function(input_signature=[tf.TensorSpec((None, 9, 8, 5))])
    def function(inputs):
        outputs.append(
            conv(strides=2, padding="same").run(inputs, tf.zeros((3, 3, 5, 6)), True, "custom_op")
        )
        return outputs[0]

    function.get_concrete_function()
    assert outputs[0].shape.as_list() == [None, 5, 4, 6]


def test_in_a_while_loop():
    kernel, mask = np.eye(8, dtype="f") * 2, np.eye(8, dtype=bool)

    @tf.function
    def four_times(inputs):
        for _ in tf.range(4):
            inputs = ks.ops.sparse_matmul(inputs, kernel, mask, implementation="custom_op")
        return inputs

    np.testing.assert_array_equal(four_times(np.ones((3, 8), "f")), np.full((3, 8), 16.0))


def test_a_saved_model_carries_the_op(tmp_path):
    case, module = conv(), tf.Module()
    module.f = tf.function(
        lambda inputs: case.run(inputs, tf.constant(case.kernel), True, "custom_op"),
        input_signature=[tf.TensorSpec((None, 9, 8, 5))],
    )
    tf.saved_model.save(module, str(tmp_path))
    assert_close([tf.saved_model.load(str(tmp_path)).f(case.inputs)], [module.f(case.inputs)])


@pytest.mark.parametrize("implementation", ["auto", "stock"])
def test_autograph_says_nothing_of_an_op_in_a_function(implementation, caplog):
    import tensorflow as tf

    @tf.function
    def product(inputs):
        kernel, mask = np.ones((4, 8), "f"), np.eye(4, 8, dtype=bool)
        return ks.ops.sparse_matmul(inputs, kernel, mask, implementation=implementation)

    with caplog.at_level("WARNING", logger="tensorflow"):
        np.testing.assert_array_equal(product(np.ones((1, 4), "f"))[0], [1.0] * 4 + [0.0] * 4)
    assert "AutoGraph" not in caplog.text
