"""Fused batch normalization computes what Keras' batch normalization does."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_sparse._keras import to_numpy
from keras_sparse.compute.normalization import FusedBatchNormalization

INPUTS = np.random.default_rng(0).normal(3, 2, (5, 4, 3, 6)).astype("float32")


def of_layer(layer, inputs=INPUTS, training=True, **arguments):
    """Outputs, and the weights after one call."""
    outputs = layer(inputs, training=training, **arguments)
    return [to_numpy(outputs), *(to_numpy(weight) for weight in layer.weights)]


def assert_as_keras(settings, inputs=INPUTS, **call):
    pair = [cls(**settings) for cls in (keras.layers.BatchNormalization, FusedBatchNormalization)]
    for expected, found in zip(*(of_layer(layer, inputs, **call) for layer in pair), strict=True):
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
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(60, 6), (15, 4, 6), (5, 2, 2, 3, 6)])
def test_inputs_of_any_rank_are_normalized(shape, training):
    assert_as_keras({}, INPUTS.reshape(shape), training=training)


@pytest.mark.backend
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("policy", "error"), [("mixed_bfloat16", 1e-2), ("mixed_float16", 2e-3)])
def test_a_mixed_policy_gives_the_values_of_keras(policy, error, training):
    pair = [
        of_layer(cls(dtype=policy), INPUTS, training)
        for cls in (keras.layers.BatchNormalization, FusedBatchNormalization)
    ]
    assert keras.backend.standardize_dtype(pair[1][0].dtype) == policy[6:]
    assert all(weight.dtype == "float32" for weight in pair[1][1:])
    for expected, found in zip(*pair, strict=True):
        np.testing.assert_allclose(
            found.astype("float32"), expected.astype("float32"), rtol=error, atol=error
        )


@pytest.mark.backend
def test_a_mask_is_minded():
    assert_as_keras({}, mask=ops.convert_to_tensor(np.arange(60).reshape(5, 4, 3) % 3 > 0))


@pytest.mark.backend
def test_a_frozen_layer_keeps_its_averages():
    layer = FusedBatchNormalization(trainable=False)
    layer.build(INPUTS.shape)
    np.testing.assert_allclose(of_layer(layer)[0], INPUTS / np.sqrt(1 + layer.epsilon), rtol=1e-5)


@pytest.mark.backend
def test_config_and_name_in_weight_files():
    layer = FusedBatchNormalization(momentum=0.7, name="norm")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert isinstance(copy, FusedBatchNormalization)
    assert copy.momentum == 0.7
    assert repr(copy) == "<FusedBatchNormalization name=norm, built=False>"
    assert FusedBatchNormalization().name == "batch_normalization"
