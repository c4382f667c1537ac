"""The attribute `activation` of the normalization's ops, and `relu` of graphs of version 0.1.0."""

from pathlib import Path

import numpy as np
import pytest

from keras_sparse.compute.library import available, library
from keras_sparse.compute.normalization_op import normalize_by_op

pytestmark = pytest.mark.skipif(not available(), reason="the compiled ops cannot be used")

FOLDER = Path(__file__).parent / "fixtures" / "relu"  # see fixtures/make_relu.py
RNG = np.random.default_rng(0)
ROWS, GRADIENT = RNG.normal(1, 2, (2, 50, 3)).astype("float32")
SCALE, OFFSET = np.array([[1, -1, 9], [0, 0.5, -0.5]], "float32")


def by_operations(activation):
    """Outputs, and the gradients by inputs, scale and offset, of an activation behind the op."""
    import tensorflow as tf

    sources = [tf.constant(x) for x in (ROWS, SCALE, OFFSET)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = activation(normalize_by_op(*sources, 1e-3)[0])
    return [outputs, *tape.gradient(outputs, sources, output_gradients=tf.constant(GRADIENT))]


def arguments():
    mean, variance = library().keras_sparse_batch_moments(ROWS)
    return ROWS, SCALE, OFFSET, mean, variance


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_saved_models_of_version_0_1_0_compute_their_relu():
    import tensorflow as tf

    module = tf.saved_model.load(str(FOLDER))
    assert_same(module.step(ROWS, SCALE, OFFSET, GRADIENT), by_operations(tf.nn.relu))


def test_graphs_of_version_0_1_0_compute_their_relu():
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString((FOLDER / "graph.pb").read_bytes())
    (norm,) = [node for node in graph.node if node.op == "KerasSparse>BatchNorm"]
    assert norm.attr["relu"].b
    (gradient,) = [node for node in graph.node if node.op == "KerasSparse>BatchNormGradient"]
    outputs = [f"{norm.name}:0", *(f"{gradient.name}:{i}" for i in range(3))]
    inputs = [node.name for node in graph.node if node.op == "Placeholder"]

    @tf.function
    def step(*values):
        given = dict(zip(inputs, values, strict=True))
        return tf.graph_util.import_graph_def(graph, input_map=given, return_elements=outputs)

    values = [tf.constant(x) for x in (ROWS, SCALE, OFFSET, GRADIENT)]
    assert_same(step(*values), by_operations(tf.nn.relu))


@pytest.mark.parametrize("name", ["Relu", "Relu6"])
def test_the_op_with_an_activation_has_its_gradients(name):
    import tensorflow as tf

    statistics = arguments()[3:]
    sources = [tf.constant(x) for x in (ROWS, SCALE, OFFSET)]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs = library().keras_sparse_batch_norm(
            *sources, *statistics, epsilon=1e-3, activation=name
        )
    found = tape.gradient(outputs, sources, output_gradients=tf.constant(GRADIENT))
    assert_same([outputs, *found], by_operations(getattr(tf.nn, name.lower())))


def test_second_derivatives_through_an_activation_of_the_op_are_refused():
    import tensorflow as tf

    inputs = tf.constant(ROWS)
    with tf.GradientTape() as outer:
        outer.watch(inputs)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = library().keras_sparse_batch_norm(
                inputs, *arguments()[1:], epsilon=1e-3, activation="Relu"
            )
        slope = tape.gradient(outputs, inputs)
    with pytest.raises(NotImplementedError, match="Received: activation=b'Relu', relu=False"):
        outer.gradient(slope, inputs)


def test_two_activations_are_refused():
    import tensorflow as tf

    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match="`relu` is for graphs without `activation`. Received: relu=true, activation=Relu",
    ):
        library().keras_sparse_batch_norm(*arguments(), epsilon=1e-3, activation="Relu", relu=True)


def test_an_unknown_activation_is_refused():
    import tensorflow as tf

    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="tanh"):
        library().keras_sparse_batch_norm(*arguments(), epsilon=1e-3, activation="tanh")
