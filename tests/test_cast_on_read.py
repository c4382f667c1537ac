"""Products in 16 bits read a float32 kernel themselves, in graphs: no operation casts all of it."""

import numpy as np
import pytest
from graphs import nodes_that_ran
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute.gradients import custom_ops

pytestmark = needs_ops

DTYPES = ("bfloat16", "float16")
KINDS = ("conv", "matmul")
MASKS = ("weights", "blocks")


def operands(kind, mask_of, dtype):
    """Inputs in 16 bits, a variable of float32, and its mask."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    inputs, kernel = {
        "conv": ((3, 6, 7, 20), (3, 3, 20, 24)),
        "matmul": ((40, 36), (36, 28)),
    }[kind]
    *taps, rows, columns = kernel
    if mask_of == "blocks":
        mask = rng.random((*taps, rows // 4, columns // 4)) < 0.4
        mask = mask.repeat(4, axis=-1).repeat(4, axis=-2)
    else:
        mask = rng.random(kernel) < 0.3
    inputs = tf.cast(rng.standard_normal(inputs), dtype)
    return inputs, tf.Variable(rng.standard_normal(kernel).astype("float32")), tf.constant(mask)


def product(kind, inputs, kernel, mask, implementation="custom_op"):
    flags = {"dense_weight_gradient": False, "implementation": implementation}
    if kind == "matmul":
        return ks.ops.sparse_matmul(inputs, kernel, mask, **flags)
    return ks.ops.sparse_conv2d(inputs, kernel, mask, padding="same", **flags)


def outputs_and_input_gradient(kind, inputs, variable, mask):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = product(kind, inputs, tf.cast(variable, inputs.dtype), mask)
    return outputs, tape.gradient(outputs, inputs, outputs)


def readers_in_floats(nodes):
    return sorted(node.op for node in nodes if node.attr["kernel_in_floats"].b)


def casts_to(dtype, nodes):
    import tensorflow as tf

    wanted = tf.as_dtype(dtype).as_datatype_enum
    return [node for node in nodes if node.op == "Cast" and node.attr["DstT"].type == wanted]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mask_of", MASKS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_gives_the_values_of_the_cast_kernel_without_the_cast(kind, mask_of, dtype):
    import tensorflow as tf

    inputs, variable, mask = operands(kind, mask_of, dtype)
    eager = outputs_and_input_gradient(kind, inputs, variable, mask)  # no pass changes eager steps

    in_graph = tf.function(lambda inputs: outputs_and_input_gradient(kind, inputs, variable, mask))
    nodes = nodes_that_ran(lambda: in_graph(inputs))

    op = {"conv": "Conv2D", "matmul": "MatMul"}[kind]
    assert readers_in_floats(nodes) == [f"KerasSparse>{op}", f"KerasSparse>{op}InputGradient"]
    assert not casts_to(dtype, nodes)
    for found, wanted in zip(in_graph(inputs), eager, strict=True):
        np.testing.assert_array_equal(tf.cast(found, "float32"), tf.cast(wanted, "float32"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_else_reads_the_cast_kernel_still_gets_it_cast(dtype):
    import tensorflow as tf

    inputs, variable, mask = operands("matmul", "weights", dtype)

    @tf.function
    def both():
        kernel = tf.cast(variable, dtype)
        return product("matmul", inputs, kernel, mask), tf.reduce_max(kernel)

    nodes = nodes_that_ran(both)
    assert readers_in_floats(nodes) == ["KerasSparse>MatMul"]
    assert len(casts_to(dtype, nodes)) == 1
    assert both()[1] == tf.reduce_max(tf.cast(variable, dtype))


@pytest.mark.parametrize("is_sparse", [True, False])
def test_the_cast_moves_into_the_branch_that_needs_it(is_sparse):
    import tensorflow as tf

    inputs, variable, mask = operands("conv", "weights", "bfloat16")

    @tf.function
    def chosen(is_sparse):
        kernel = tf.cast(variable, "bfloat16")
        return tf.cond(
            is_sparse,
            lambda: product("conv", inputs, kernel, mask),
            lambda: product("conv", inputs, kernel, mask, "stock"),
        )

    nodes = nodes_that_ran(lambda: chosen(tf.constant(is_sparse)))
    assert readers_in_floats(nodes) == ["KerasSparse>Conv2D"]
    assert [node.input[0].split("/")[-1] for node in casts_to("bfloat16", nodes)] != []
    by_name = {node.name: node for node in nodes}
    for cast in casts_to("bfloat16", nodes):
        assert by_name[cast.input[0].split(":")[0]].op == "Switch"
    implementation = "custom_op" if is_sparse else "stock"
    wanted = product("conv", inputs, tf.cast(variable, "bfloat16"), mask, implementation)
    found = chosen(tf.constant(is_sparse))
    np.testing.assert_array_equal(tf.cast(found, "float32"), tf.cast(wanted, "float32"))


def test_a_value_that_is_held_stays_when_the_variable_changes():
    """The op reads the variable's own memory: a change behind it must not reach it."""
    import tensorflow as tf

    inputs, variable, mask = operands("matmul", "weights", "bfloat16")

    @tf.function
    def then_change():
        outputs = product("matmul", inputs, tf.cast(variable, "bfloat16"), mask)
        variable.assign(tf.zeros_like(variable))
        return outputs

    wanted = product("matmul", inputs, tf.cast(variable, "bfloat16"), mask)
    np.testing.assert_array_equal(tf.cast(then_change(), "float32"), tf.cast(wanted, "float32"))
    assert not np.any(variable.numpy())


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("bfloat16", (36, 28), "have a last axis of 2"),
        ("float32", (36, 28, 2), "must be false for T=float32"),
    ],
)
def test_the_flag_is_refused_where_the_kernel_is_no_float32_variable(dtype, shape, message):
    import tensorflow as tf

    inputs, mask = tf.zeros((40, 36), dtype), tf.ones((36, 28), "bool")
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        custom_ops().keras_sparse_mat_mul(
            inputs, tf.zeros(shape, dtype), mask, False, kernel_in_floats=True
        )
