"""The compiled ops of batch normalization: their gradients, and what a graph joins with them."""

import functools

import keras
import numpy as np
import pytest
from graphs import nodes_that_ran

import keras_sparse as ks
from keras_sparse.compute.library import available, library

pytestmark = pytest.mark.skipif(not available(), reason="the compiled ops cannot be used")

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(3, 2, (5, 4, 3, 6)).astype("float32")
JOINED = {
    "relu": keras.activations.relu,
    "relu6": keras.activations.relu6,
    "ReLU(6)": lambda outputs: keras.activations.relu(outputs, max_value=6),  # the layer's
}
KINDS = (keras.layers.BatchNormalization, ks.layers.FusedBatchNormalization)


def built(kind, **settings):
    """A layer whose scales and offsets differ by channel, some of them negative.

    Outputs of the third channel lie on both sides of 6.
    """
    layer = kind(**settings)
    layer.build(INPUTS.shape)
    layer.gamma.assign([1, -1, 8, 0.5, -0.5, 1])
    layer.beta.assign([0, 0.5, -0.5, 1, 0, -1])
    return layer


def assert_near(expected, found):
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-4, atol=2e-5)


def types_that_run(function, *arguments):
    """Types of the operations of the graph that TensorFlow has made of a function's."""
    import tensorflow as tf

    nodes = nodes_that_ran(lambda: tf.function(function)(*map(tf.constant, arguments)))
    ops = [node.op for node in nodes]
    return sorted(op for op in ops if "Batch" in op or "Relu" in op or op == "AddN")


def gradients(layer, then, inputs=INPUTS):
    """By inputs, scale and offset, of a loss that weighs all outputs differently."""
    import tensorflow as tf

    inputs = tf.convert_to_tensor(inputs)
    weights = np.sin(np.arange(INPUTS.size, dtype="float32")).reshape(INPUTS.shape)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        loss = tf.reduce_sum(weights * then(layer(inputs, training=True)))
    return tape.gradient(loss, [inputs, layer.gamma.value, layer.beta.value])


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
@pytest.mark.parametrize("activation", ["linear", "relu", "relu6", "leaky_relu", "swish"])
def test_gradients_are_those_of_keras(activation, how):
    import tensorflow as tf

    then = keras.activations.get(activation)
    xla = functools.partial(tf.function, jit_compile=True)
    wrap = {"eager": lambda function: function, "graph": tf.function, "xla": xla}[how]
    pair = [wrap(gradients)(built(kind), then) for kind in KINDS]
    assert_near(*pair)


@pytest.mark.parametrize(("policy", "error"), [("mixed_bfloat16", 0.05), ("mixed_float16", 5e-3)])
@pytest.mark.parametrize("activation", JOINED.values(), ids=JOINED)
def test_gradients_of_16_bits_are_those_of_float32_but_for_rounding(activation, policy, error):
    import tensorflow as tf

    exact = gradients(built(ks.layers.FusedBatchNormalization), activation)
    layer = built(ks.layers.FusedBatchNormalization, dtype=policy)
    found = tf.function(gradients)(layer, lambda outputs: tf.cast(activation(outputs), "float32"))
    for one, other in zip(exact, found, strict=True):
        scale = float(keras.ops.max(keras.ops.abs(one)))
        np.testing.assert_allclose(other, one, rtol=error, atol=error * scale)


def test_gradients_of_gradients_are_those_of_keras():
    import tensorflow as tf

    def second(layer):
        inputs = tf.constant(INPUTS)
        with tf.GradientTape() as outer:
            outer.watch(inputs)
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs, training=True)
                loss = tf.reduce_sum(tf.sin(outputs) * tf.range(6.0))
            slope = tape.gradient(loss, inputs)
            penalty = tf.reduce_sum(slope**2)
        return outer.gradient(penalty, [inputs, layer.gamma.value, layer.beta.value])

    for one, other in zip(*(second(built(kind)) for kind in KINDS), strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("activation", JOINED.values(), ids=JOINED)
def test_an_activation_and_its_gradient_run_within_the_normalization(activation, policy):
    layer = built(ks.layers.FusedBatchNormalization, dtype=policy)

    def then(outputs):
        return keras.ops.cast(activation(outputs), "float32")

    assert types_that_run(lambda inputs: gradients(layer, then, inputs), INPUTS) == [
        "KerasSparse>BatchMoments",
        "KerasSparse>BatchNorm",
        "KerasSparse>BatchNormGradient",
    ]


def test_the_gradients_of_a_branch_are_summed_within_that_of_the_normalization():
    import tensorflow as tf

    layer = built(ks.layers.FusedBatchNormalization)

    def step(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            branch = keras.ops.relu(layer(inputs, training=True))
            loss = tf.reduce_sum(tf.sin(branch)) + tf.reduce_sum(tf.cos(inputs))
        return tape.gradient(loss, inputs)

    inputs = tf.constant(INPUTS)
    assert types_that_run(step, INPUTS) == [
        "KerasSparse>BatchMoments",
        "KerasSparse>BatchNorm",
        "KerasSparse>BatchNormGradient",
    ]
    assert_near([step(inputs)], [tf.function(step)(inputs)])  # eagerly, and joined


def test_what_is_read_before_the_relu_is_there():
    import tensorflow as tf

    layer = built(ks.layers.FusedBatchNormalization)

    def both(inputs):
        outputs = layer(inputs, training=True)
        return outputs, keras.ops.relu(outputs)

    inputs = tf.constant(INPUTS)
    assert types_that_run(both, INPUTS) == [
        "KerasSparse>BatchMoments",
        "KerasSparse>BatchNorm",
        "Relu",
    ]
    outputs, positive = tf.function(both)(inputs)
    assert float(keras.ops.min(outputs)) < -1
    np.testing.assert_array_equal(positive, np.maximum(outputs, 0))


def test_operations_that_wait_for_the_relu_wait_for_the_joined_one():
    import tensorflow as tf

    layer, seen = built(ks.layers.FusedBatchNormalization), tf.Variable(0.0)

    @tf.function
    def step(inputs):
        outputs = keras.ops.relu(layer(inputs, training=True))
        with tf.control_dependencies([outputs]):
            seen.assign_add(1.0)
        return outputs

    positive = step(tf.constant(INPUTS))
    assert float(seen) == 1.0
    layer = built(keras.layers.BatchNormalization)
    assert_near([keras.ops.relu(layer(INPUTS, training=True))], [positive])


def test_predictions_and_frozen_layers_run_operations_of_tensorflow():
    layer = built(ks.layers.FusedBatchNormalization)
    predict = types_that_run(lambda inputs: layer(inputs, training=False), INPUTS)
    layer.trainable = False
    frozen = types_that_run(lambda inputs: layer(inputs, training=True), INPUTS)
    for types in (predict, frozen):
        assert len(types) == 1
        assert "FusedBatchNorm" in types[0]


def residual_model(kind):
    """Two blocks before the activation, as in a wide residual network, and a branch of its own."""
    keras.utils.set_random_seed(0)
    layers = keras.layers

    def convolution(x):
        return layers.Conv2D(8, 3, padding="same", use_bias=False)(x)

    inputs = keras.Input((6, 6, 3))
    x = convolution(inputs)
    for activation in (layers.ReLU, lambda: layers.Activation("relu")):
        y = convolution(activation()(kind(momentum=0.9)(x)))
        x = layers.add([x, convolution(activation()(kind(epsilon=1e-5, scale=False)(y)))])
    x = layers.GlobalAveragePooling2D()(keras.ops.relu(kind()(x)))
    return keras.Model(inputs, layers.Dense(3)(kind()(x)))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_training_gives_the_weights_and_averages_of_keras(jit_compile):
    images = RNG.normal(1, 2, (12, 6, 6, 3)).astype("float32")
    weights = []
    for kind in KINDS:
        model = residual_model(kind)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, jit_compile=jit_compile)
        model.fit(images, np.arange(12) % 3, 4, epochs=2, shuffle=False, verbose=0)
        weights.append([weight.numpy() for weight in model.weights])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(other, one, rtol=2e-3, atol=2e-4)


def test_a_large_mean_does_not_blur_the_variance():
    mean, variance = library().keras_sparse_batch_moments(
        np.array([[4095.0], [4097.0]] * 500, "float32")
    )
    assert (float(mean[0]), float(variance[0])) == (4096.0, 1.0)


def test_moments_of_nothing_are_not_numbers():
    mean, variance = library().keras_sparse_batch_moments(np.zeros((0, 2), "float32"))
    assert np.isnan([*mean, *variance]).all()


def test_wrong_arguments_say_what_was_received():
    import tensorflow as tf

    three, four = np.ones(3, "float32"), np.ones(4, "float32")
    arguments = [np.ones((2, 3), "float32"), three, four, three, three]
    with pytest.raises(
        (tf.errors.InvalidArgumentError, ValueError),
        match=r"`offset` must have the shape \[3\]. Received: offset.shape=\[4\]",
    ):
        library().keras_sparse_batch_norm(*arguments, epsilon=1e-3)
