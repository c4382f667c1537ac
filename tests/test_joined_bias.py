"""A graph joins a bias and an activation with the product before them, and spares its gradient."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from graphs import nodes_that_ran
from oracle import needs_ops

import keras_sparse as ks

L = keras.layers
pytestmark = needs_ops
RNG = np.random.default_rng(0)
IMAGES = tf.constant(RNG.normal(size=(2, 32, 32, 16)).astype("float32"))
ROWS = tf.constant(RNG.normal(size=(64, 1024)).astype("float32"))  # the kernel takes 4 MiB
SEQUENCES = tf.reshape(ROWS, (4, 16, 1024))
LAYERS = {  # the type of the product, a layer, its inputs
    "Conv1D": (
        "Conv2D",
        lambda **settings: ks.layers.SparseConv1D(64, 3, **settings),
        tf.reshape(IMAGES, (2, 1024, 16)),
    ),
    "Conv2D": ("Conv2D", lambda **settings: ks.layers.SparseConv2D(24, 3, **settings), IMAGES),
    "Conv3D of images": (
        "Conv2D",
        lambda **settings: ks.layers.SparseConv3D(24, (1, 3, 3), **settings),
        tf.reshape(IMAGES, (1, 2, 32, 32, 16)),
    ),
    "Conv3D of lines": (
        "Conv2D",
        lambda **settings: ks.layers.SparseConv3D(64, (3, 1, 1), **settings),
        tf.reshape(IMAGES, (1, 8, 8, 16, 32)),
    ),
    "Dense": ("MatMul", lambda **settings: ks.layers.SparseDense(1024, **settings), ROWS),
    "Dense of sequences": (
        "MatMul",
        lambda **settings: ks.layers.SparseDense(1024, **settings),
        SEQUENCES,
    ),
    "EinsumDense to heads": (
        "MatMul",
        lambda **settings: ks.layers.SparseEinsumDense(
            "btc,chd->bthd", (None, 16, 64), bias_axes="hd", **settings
        ),
        SEQUENCES,
    ),
    "EinsumDense of heads": (
        "MatMul",
        lambda **settings: ks.layers.SparseEinsumDense(
            "bthd,hdc->btc", (None, 1024), bias_axes="c", **settings
        ),
        tf.reshape(ROWS, (4, 16, 16, 64)),
    ),
}
BLOCKS = ks.Blocks(4, 4, per_tap=True)


def each_product(*settings):
    """The products with the first of these settings, the second and so on: every pair, once."""
    turns = zip(LAYERS, itertools.cycle(settings))
    return [(product, *values) for product, turn in turns for values in turn]


def made(product, activation=None, structure=None, **settings):
    """A built layer that computes this product, and its inputs."""
    _, make, inputs = LAYERS[product]
    layer = make(activation=activation, bias_initializer="normal", structure=structure, **settings)
    layer.build(inputs.shape)
    set_density(layer, 0.1)
    return layer, inputs


def set_density(layer, density):
    """Gives the layer a mask of blocks of 4x4."""
    *taps, in_, out = layer.kernel.shape
    blocks = np.random.default_rng(1).random((*taps, in_ // 4, out // 4)) < density
    layer.set_mask(blocks.repeat(4, -1).repeat(4, -2))


def step_of(layer):
    """Outputs and gradients of a training step."""

    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.sin(outputs))
        return outputs, *tape.gradient(loss, [inputs, *layer.trainable_variables])

    return step


def types_in(step, inputs):
    """The types of the operations of a graph that TensorFlow has prepared."""
    return {node.op for node in nodes_that_ran(lambda: step(inputs))}


def assert_near(expected, found):
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("product", "activation", "structure"),
    [
        *each_product([(None, None), ("relu", BLOCKS)], [(None, BLOCKS), ("relu", None)]),
        *[(product, "relu6", one) for product in ("Conv2D", "Dense") for one in (None, BLOCKS)],
    ],
)
def test_a_step_joins_them_and_has_the_values_of_eager_ones(product, activation, structure):
    layer, inputs = made(product, activation, structure, implementation="custom_op")
    graph = tf.function(step_of(layer), autograph=False)
    types = types_in(graph, inputs)
    assert f"KerasSparse>{LAYERS[product][0]}WithBias" in types
    assert not {"BiasAdd", "Relu", "Relu6", f"KerasSparse>{LAYERS[product][0]}"} & types
    for _ in range(2):
        assert_near(step_of(layer)(inputs), graph(inputs))
        layer.bias.assign_add(0.5 * tf.ones(layer.bias.shape))


@pytest.mark.parametrize(
    ("product", "activation", "batch"),
    each_product(
        [(None, "known"), ("relu", "unknown")],
        [(None, "unknown"), ("relu", "known")],
    ),
)
def test_both_branches_of_a_choice_while_the_graph_runs_have_the_bias(product, activation, batch):
    layer, inputs = made(product, activation)
    shape = inputs.shape if batch == "known" else (None, *inputs.shape[1:])
    graph = tf.function(step_of(layer), [tf.TensorSpec(shape)], autograph=False)
    assert f"KerasSparse>{LAYERS[product][0]}WithBias" in types_in(graph, inputs)
    for density in (0.1, 0.95, 0.1):
        set_density(layer, density)
        assert_near(step_of(layer)(inputs), graph(inputs))


def test_a_pointwise_product_of_sequences_is_joined_too():
    layer = ks.layers.SparseSeparableConv1D(
        24, 3, activation="relu", bias_initializer="normal", implementation="custom_op"
    )
    inputs = tf.reshape(IMAGES, (2, 1024, 16))
    expected = layer(inputs)
    graph = tf.function(layer, autograph=False)
    types = types_in(graph, inputs)
    assert "KerasSparse>Conv2DWithBias" in types
    assert not {"BiasAdd", "Relu"} & types
    assert_near([expected], [graph(inputs)])


def test_an_activation_of_an_axis_sees_the_axes_of_the_outputs():
    """A softmax over heads, which are the last but one of the outputs' axes."""
    activation = lambda x: keras.ops.softmax(x, axis=-2)  # noqa: E731
    layer, inputs = made("EinsumDense to heads", activation, implementation="custom_op")
    np.testing.assert_allclose(np.sum(layer(inputs), axis=-2), np.ones((4, 16, 64)), rtol=1e-5)


def test_what_is_read_before_the_bias_or_the_activation_is_there():
    layer, inputs = made("Conv2D", implementation="custom_op", use_bias=False)
    bias = tf.constant(RNG.normal(size=24).astype("float32"))

    def all_three(inputs):
        outputs = layer(inputs)
        return outputs, (biased := tf.nn.bias_add(outputs, bias)), tf.nn.relu(biased)

    outputs, biased, positive = tf.function(all_three)(inputs)
    assert "KerasSparse>Conv2D" in types_in(tf.function(all_three), inputs)
    np.testing.assert_array_equal(biased, outputs + bias)
    np.testing.assert_array_equal(positive, np.maximum(biased, 0))


def test_what_waits_for_a_bias_waits_for_the_joined_product():
    layer, inputs = made("Conv2D", implementation="custom_op")
    seen = tf.Variable(0.0)

    @tf.function(autograph=False)
    def step(inputs):
        with tf.control_dependencies([layer(inputs)]):
            seen.assign_add(1.0)

    step(inputs)
    assert float(seen) == 1.0


@pytest.mark.parametrize(
    ("product", "activation", "dtype"),
    each_product(
        [(None, "mixed_bfloat16"), ("relu", "mixed_float16")],
        [(None, "mixed_float16"), ("relu", "mixed_bfloat16")],
    ),
)
def test_in_16_bits_a_joined_product_rounds_once(product, activation, dtype):
    """The eager one is rounded before the bias is added, too."""
    layer, inputs = made(product, activation, implementation="custom_op", dtype=dtype)
    graph = tf.function(lambda x: layer(x, training=True), autograph=False)
    types = types_in(graph, inputs)
    assert f"KerasSparse>{LAYERS[product][0]}WithBias" in types
    assert not {"BiasAdd", "Relu"} & types
    exact, _ = made(product, activation, implementation="custom_op", dtype="float32")
    low = tf.as_dtype(layer.compute_dtype)
    for weight in ("kernel", "bias"):
        getattr(exact, weight).assign(tf.cast(tf.cast(getattr(layer, weight), low), "float32"))
    expected = exact(tf.cast(tf.cast(inputs, low), "float32"))
    others = np.mean(graph(inputs) != tf.cast(expected, low))
    # AMX sums in another order; two roundings would make more than a quarter others
    assert others <= (1e-3 if ks.ops.available().instructions == "AMX" else 0)


# --- the gradient of a bias behind which a batch normalization follows


def normalized(dtype=None):
    """A convolution, a batch normalization and a ReLU, with the gradients by all variables."""
    keras.utils.set_random_seed(0)
    convolution = L.Conv2D(8, 3, bias_initializer="normal", dtype=dtype)
    normalization = ks.layers.FusedBatchNormalization(beta_initializer="normal", dtype=dtype)

    def step(inputs):
        with tf.GradientTape() as tape:
            outputs = keras.ops.relu(normalization(convolution(inputs), training=True))
            loss = tf.reduce_sum(tf.sin(outputs))
        variables = [*convolution.trainable_variables, *normalization.trainable_variables]
        return tape.gradient(loss, [variable.value for variable in variables])

    return step


@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16"])
def test_its_gradient_is_0_and_nothing_is_summed_for_it(dtype):
    step = normalized(dtype)
    eager = step(IMAGES)
    graph = tf.function(step, autograph=False)
    found = graph(IMAGES)
    assert not {"BiasAddGrad", "_MklNativeConv2DBackpropFilterWithBias"} & types_in(graph, IMAGES)
    np.testing.assert_array_equal(found[1], np.zeros(8))
    tolerance = 1e-3 if dtype is None else 0.1
    largest = float(tf.reduce_max(tf.abs(eager[0])))
    assert float(tf.reduce_max(tf.abs(eager[1]))) < tolerance * largest
    for i in (0, 2, 3):
        np.testing.assert_allclose(found[i], eager[i], rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("dtype", [None, "mixed_bfloat16"])
def test_its_gradient_is_0_in_a_loop_of_steps(dtype):
    step = normalized(dtype)

    @tf.function(autograph=False)
    def steps(inputs):
        first = (0, *(tf.zeros_like(gradient) for gradient in step(inputs)))
        return tf.while_loop(
            lambda i, *_: i < 3, lambda i, *_: (i + 1, *step(inputs)), first, maximum_iterations=3
        )

    _, *found = steps(IMAGES)
    for one, other in zip(found, tf.function(step, autograph=False)(IMAGES), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found[1], np.zeros(8))


def test_its_gradient_is_no_number_where_that_of_the_outputs_is_none():
    step = tf.function(normalized(), autograph=False)
    images = tf.tensor_scatter_nd_update(IMAGES, [[0, 0, 0, 0]], [np.nan])
    assert np.isnan(step(images)[1]).all()


def test_a_bias_whose_outputs_are_read_elsewhere_too_has_the_whole_gradient():
    """The sum of two gradients is no gradient of a normalization alone."""
    bias = tf.Variable(RNG.normal(size=16).astype("float32"))
    normalization = ks.layers.FusedBatchNormalization()
    normalization.build(IMAGES.shape)

    def step(inputs):
        with tf.GradientTape() as tape:
            biased = tf.nn.bias_add(inputs, bias)
            loss = tf.reduce_sum(tf.sin(normalization(biased, training=True)))
            loss += tf.reduce_sum(biased)
        return tape.gradient(loss, bias)

    pixels = 2 * 32 * 32
    np.testing.assert_allclose(tf.function(step)(IMAGES), np.full(16, pixels), rtol=1e-3)
