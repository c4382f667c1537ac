"""A graph joins the sum of two branches, or of their gradients, with a convolution before it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from graphs import nodes_that_ran
from oracle import needs_ops

import keras_sparse as ks

pytestmark = needs_ops
BLOCKS = ks.Blocks(4, 4, per_tap=True)
FORWARD, GRADIENT = "KerasSparse>Conv2DWithSum", "KerasSparse>Conv2DInputGradientWithSum"


def images(*shape, dtype="float32"):
    return tf.cast(tf.constant(np.random.default_rng(0).normal(size=shape)), dtype)


def convolution(structure=None, filters=16, seed=1, **settings):
    """A sparse layer for images of 16 channels, with a tenth of its weights in blocks of 4x4."""
    settings = {"kernel_size": 3, "padding": "same", "use_bias": False, **settings}
    layer = ks.layers.SparseConv2D(filters, structure=structure, **settings)
    layer.build((None, None, None, 16))
    *taps, in_, out = layer.kernel.shape
    blocks = np.random.default_rng(seed).random((*taps, in_ // 4, out // 4)) < 0.1
    layer.set_mask(blocks.repeat(4, -1).repeat(4, -2))
    return layer


def step_of(function, *layers):
    """Outputs and gradients of a function of images."""

    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(inputs)
            loss = tf.reduce_sum(tf.sin(tf.cast(outputs, "float32")))
        variables = [layer.kernel.value for layer in layers]
        return outputs, *tape.gradient(loss, [inputs, *variables])

    return step


def types_in(graph, *inputs):
    return [node.op for node in nodes_that_ran(lambda: graph(*inputs))]


def assert_near(expected, found, tolerance=1e-4):
    for one, other in zip(expected, found, strict=True):
        one, other = (tf.cast(each, "float32").numpy() for each in (one, other))
        np.testing.assert_allclose(other, one, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("dtype", "structure", "implementation"),  # each pair of settings
    [
        ("float32", None, "custom_op"),
        ("float32", BLOCKS, "auto"),
        ("mixed_bfloat16", None, "auto"),
        ("mixed_bfloat16", BLOCKS, "custom_op"),
        ("mixed_float16", None, "custom_op"),
        ("mixed_float16", BLOCKS, "auto"),
    ],
)
def test_sums_of_branches_and_of_their_gradients_are_joined(dtype, structure, implementation):
    settings = {"implementation": implementation, "dtype": dtype}
    first = convolution(structure, **settings)
    second = convolution(structure, seed=2, kernel_size=1, **settings)
    graph = step_of(lambda x: first(x) + second(x), first, second)
    inputs = images(2, 64, 64, 16, dtype=first.compute_dtype)
    types = types_in(tf.function(graph, autograph=False), inputs)
    assert types.count(FORWARD) == types.count(GRADIENT) == 1
    tolerance = 1e-4 if dtype == "float32" else 0.1
    assert_near(graph(inputs), tf.function(graph, autograph=False)(inputs), tolerance)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("strides", [1, 2])
def test_a_joined_sum_has_the_bits_of_two_operations(dtype, strides):
    layer = convolution(BLOCKS, strides=strides, dtype=dtype, implementation="custom_op")
    inputs, other = images(3, 10, 10, 16, dtype=dtype), images(3, 10 // strides, 10 // strides, 16)
    other = tf.cast(other, dtype)
    graph = tf.function(lambda x, y: y + layer(x), autograph=False)
    assert FORWARD in types_in(graph, inputs, other)
    np.testing.assert_array_equal(graph(inputs, other), other + layer(inputs))


@pytest.mark.parametrize("density", [0.1, 0.9])
def test_both_branches_of_a_choice_while_the_graph_runs_have_the_sum(density):
    layer = convolution()
    step = step_of(lambda x: x + layer(x), layer)
    graph, inputs = tf.function(step, autograph=False), images(2, 64, 64, 16)
    assert FORWARD in types_in(graph, inputs)
    layer.set_mask(np.random.default_rng(3).random(layer.kernel.shape) < density)
    assert_near(step(inputs), graph(inputs))


@pytest.mark.parametrize(
    ("height", "shape"), [(8, (2, 1, 1, 16)), (8, (16,)), (8, ()), (1, (2, 8, 8, 16)), (8, (1,))]
)
def test_a_sum_of_different_shapes_is_that_of_addv2(height, shape):
    layer = convolution(implementation="custom_op")
    inputs, other = images(2, height, height, 16), images(*shape)
    graph = tf.function(lambda x, y: layer(x) + y, autograph=False)
    assert FORWARD in types_in(graph, inputs, other)
    expected = layer(inputs) + other
    np.testing.assert_array_equal(graph(inputs, other), expected)
    assert graph(inputs, other).shape == expected.shape


def test_shapes_that_do_not_fit_are_named():
    layer = convolution(implementation="custom_op")
    unknown = tf.TensorSpec((None, None, None, 16))
    graph = tf.function(lambda x, y: layer(x) + y, input_signature=[unknown, unknown])
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"`addend` must fit the shape \[2,8,8,16"
    ):
        graph(images(2, 8, 8, 16), images(2, 7, 8, 16))


def test_an_empty_batch_has_the_sum():
    layer = convolution(implementation="custom_op")
    graph = tf.function(lambda x, y: layer(x) + y, autograph=False)
    assert graph(images(0, 8, 8, 16), images(1, 8, 8, 16)).shape == (0, 8, 8, 16)


def test_a_product_that_is_read_twice_is_not_joined():
    layer = convolution(implementation="custom_op")

    @tf.function(autograph=False)
    def twice(x):
        y = layer(x)
        return x + y, tf.sin(y)

    inputs = images(2, 8, 8, 16)
    assert FORWARD not in types_in(twice, inputs)
    y = layer(inputs)
    assert_near((inputs + y, tf.sin(y)), twice(inputs))


def test_a_sum_with_what_waits_for_the_product_is_not_joined():
    layer = convolution(implementation="custom_op")
    state = tf.Variable(1.0)

    @tf.function(autograph=False)
    def waits(x):
        y = layer(x)
        with tf.control_dependencies([y]):
            return y + state.read_value()

    inputs = images(2, 8, 8, 16)
    assert FORWARD not in types_in(waits, inputs)
    assert_near([layer(inputs) + 1.0], [waits(inputs)])


def test_sums_in_a_loop():
    layer = convolution(implementation="custom_op")

    @tf.function(autograph=False)
    def loop(x):
        return tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y + layer(y)), [0, x])[1]

    inputs = expected = images(2, 8, 8, 16)
    assert FORWARD in types_in(loop, inputs)
    for _ in range(3):
        expected += layer(expected)
    assert_near([expected], [loop(inputs)])


def test_a_residual_network_trains_as_without_joined_sums():
    """Three steps of SGD, in a graph and eagerly."""

    def trained(run_eagerly):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((16, 16, 16))
        x = inputs
        for _ in range(2):
            y = keras.layers.BatchNormalization()(x)
            y = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(keras.layers.ReLU()(y))
            x = keras.layers.Add()([x, y])
        outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
        model = ks.sparsify(keras.Model(inputs, outputs), implementation="custom_op")
        optimizer = ks.StaticSparsity(keras.optimizers.SGD(0.1, momentum=0.9), density=0.2)
        optimizer.build(model)
        model.compile(optimizer, "mse", run_eagerly=run_eagerly)
        x, y = images(8, 16, 16, 16), images(8, 3)
        model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    for one, other in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)
