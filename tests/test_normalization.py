"""Fused batch normalization computes what Keras' batch normalization does."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sparse._keras import to_numpy
from keras_sparse.compute.normalization import FusedBatchNormalization

INPUTS = np.random.default_rng(0).normal(3, 2, (5, 4, 3, 6)).astype("float32")


def of_layer(layer, training=True, **arguments):
    """Outputs, and the weights after one call."""
    outputs = layer(INPUTS, training=training, **arguments)
    return [to_numpy(outputs), *(to_numpy(weight) for weight in layer.weights)]


def assert_as_keras(settings, **call):
    pair = [cls(**settings) for cls in (keras.layers.BatchNormalization, FusedBatchNormalization)]
    for expected, found in zip(*(of_layer(layer, **call) for layer in pair), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.backend
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": False},
        {"center": False, "epsilon": 1e-5},
        {"momentum": 0.5},
        {"renorm": True},
        {"axis": 1},
    ],
)
def test_values_and_averages_are_those_of_keras(settings, training):
    assert_as_keras(settings, training=training)


@pytest.mark.backend
def test_a_mask_is_minded():
    assert_as_keras({}, mask=ops.convert_to_tensor(np.arange(60).reshape(5, 4, 3) % 3 > 0))


@pytest.mark.backend
def test_a_frozen_layer_keeps_its_averages():
    layer = FusedBatchNormalization(trainable=False)
    layer.build(INPUTS.shape)
    np.testing.assert_allclose(of_layer(layer)[0], INPUTS / np.sqrt(1 + layer.epsilon), rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="gradients by tf.GradientTape")
def test_gradients_are_those_of_keras():
    import tensorflow as tf

    def gradients(layer):
        inputs = tf.Variable(INPUTS)
        with tf.GradientTape() as tape:
            outputs = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.sin(outputs) * tf.range(6.0))
        return tape.gradient(loss, [inputs, *(weight.value for weight in layer.trainable_weights)])

    for expected, found in zip(
        gradients(keras.layers.BatchNormalization()),
        gradients(FusedBatchNormalization()),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has the fused operation"
)
def test_it_is_one_operation():
    import tensorflow as tf

    graph = (
        tf.function(FusedBatchNormalization())
        .get_concrete_function(tf.constant(INPUTS), training=True)
        .graph
    )
    assert [op.type for op in graph.get_operations()].count("FusedBatchNormV3") == 1


@pytest.mark.backend
def test_config_and_name_in_weight_files():
    layer = FusedBatchNormalization(momentum=0.7, name="norm")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(copy, FusedBatchNormalization)
    assert copy.momentum == 0.7
    assert repr(copy) == "<FusedBatchNormalization name=norm, built=False>"
    assert FusedBatchNormalization().name == "batch_normalization"
