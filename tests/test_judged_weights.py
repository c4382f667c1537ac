"""What an untrained weight is judged by: its initializer, its law, its layer's connections."""

import keras
import numpy as np
from helpers import array
from keras import layers

from keras_sparse.training import untrained
from keras_sparse.training.scale_invariant import is_scale_invariant


def test_one_missing_weight_that_is_not_0_is_judged_with_all():
    initializer = keras.initializers.HeUniform(seed=0)
    drawn = array(initializer((16, 16)))
    mask = np.indices(drawn.shape).sum(axis=0) % 2 == 0
    nearly_masked = drawn * mask
    nearly_masked[0, 1] = drawn[0, 1]
    assert not untrained._may_be_drawn(initializer, nearly_masked, mask)


def test_a_unit_of_one_input_has_a_fan_of_1():
    initializer = keras.initializers.HeUniform(seed=0)
    drawn = array(initializer((1, 128)))
    assert untrained._may_be_drawn(initializer, drawn, np.ones((1, 128), bool))


def test_scaled_weights_are_0_where_the_mask_has_none():
    mask = np.array([[True, False], [False, True]])
    scaled_ones = untrained._scaled(np.ones((2, 2), "float32"), np.array([[2.0, 3.0]]), mask)
    assert scaled_ones.tolist() == [[2.0, 0.0], [0.0, 3.0]]


def test_an_initializer_is_found_by_the_whole_name_of_a_weight_or_without_its_end():
    layer = keras.layers.Layer()
    layer.my_kernel_initializer = keras.initializers.HeNormal()
    layer.your_initializer = keras.initializers.HeUniform()
    mine, yours = (keras.Variable([1.0], name=f"{name}_kernel") for name in ("my", "your"))
    assert untrained.initializer_of(layer, mine) is layer.my_kernel_initializer
    assert untrained.initializer_of(layer, yours) is layer.your_initializer
    layer = layers.DepthwiseConv2D(3)
    layer.build((None, 8, 8, 4))
    assert untrained.initializer_of(layer, layer.kernel) is layer.depthwise_initializer


def test_taps_alone_lead_to_an_output_of_a_depthwise_kernel():
    by_type, by_name = layers.DepthwiseConv2D(3), layers.SeparableConv2D(4, 3)
    for layer in (by_type, by_name):
        layer.build((None, 8, 8, 4))
    for layer, kernel in ((by_type, by_type.kernel), (by_name, by_name.depthwise_kernel)):
        assert untrained.connections_of(layer, kernel) == ((0, 1), (0, 1, 3))
    assert untrained.connections_of(by_name, by_name.pointwise_kernel) == ((0, 1, 2), (0, 1, 3))


def test_only_homogeneous_layers_carry_a_scale_to_normalization():
    first, second, last = (layers.Dense(8) for _ in range(3))
    norm, relu = layers.BatchNormalization(), layers.ReLU()
    keras.Sequential([keras.Input((8,)), first, relu, second, last, norm])
    found = [is_scale_invariant(layer) for layer in (first, relu, second, last, norm)]
    assert found == [False, False, False, True, False]
