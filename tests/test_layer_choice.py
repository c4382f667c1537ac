"""Who computes a layer's products in a graph: when the graph asks for the mask's density."""

import keras
import numpy as np
import pytest
from helpers import array, sgd
from oracle import needs_ops
from test_choice import mask_of

import keras_sparse as ks

pytestmark = needs_ops


def layer_of(density, trainable=False):
    """1024 inputs, 2048 outputs.

    In predictions the custom op wins up to a density of 0.24 for 16 output positions. It wins up
    to 0.054 for 17, and up to more for more of them: to 0.095 for 32.
    """
    layer = ks.layers.SparseDense(2048, use_bias=False)
    layer.build((None, 1024))
    layer.set_mask(mask_of((1024, 2048), density))
    layer.trainable = trainable
    return layer


def traced(layer, shape):
    """Has the graph of a prediction a condition, and the custom op?"""
    import tensorflow as tf

    function = tf.function(lambda x: layer(x), autograph=False)
    of = function.get_concrete_function(tf.TensorSpec(shape)).graph.as_graph_def()
    nodes = [*of.node, *(node for one in of.library.function for node in one.node_def)]
    operations = {node.op for node in nodes}
    return bool(operations & {"If", "StatelessIf"}), any("KerasSparse>" in op for op in operations)


@pytest.mark.parametrize(
    ("shape", "density", "expected"),
    [
        ((None, 17, 1024), 0.05, (False, True)),  # one example is enough
        ((None, 17, 1024), 0.09, (True, True)),  # two are
        ((None, 16, 1024), 0.09, (True, True)),  # few rows may be faster than more of them
        ((None, None, 1024), 0.05, (True, True)),
        ((None, 17, 1024), 0.9, (False, False)),  # no batch is
    ],
)
def test_a_frozen_layer_asks_for_no_density_where_one_example_tells(shape, density, expected):
    assert traced(layer_of(density), shape) == expected


def test_a_layer_that_may_be_trained_asks():
    assert traced(layer_of(0.05, trainable=True), (None, 17, 1024)) == (True, True)


def test_inputs_of_unknown_rank_tell_nothing():
    import tensorflow as tf

    layer = layer_of(0.1)
    inputs = tf.TensorSpec(None)
    assert layer._at_any_batch(layer.product(), inputs, 0.1) is None


def test_the_custom_op_that_was_asked_for_runs_or_is_an_error():
    layer = ks.layers.SparseDense(32, implementation="custom_op", autocast=False)
    layer.build((None, 16))
    with pytest.raises(ValueError, match='must be "auto" or "stock" here: dtype is float64'):
        layer(np.ones((4, 16), "float64"))


def test_what_the_layer_itself_leaves_to_stock_is_none():
    """Dropout before the kernel gives each gate inputs of its own; recurrent ones have none."""
    layer = ks.layers.SparseGRU(16, dropout=0.5, implementation="custom_op")
    assert layer(np.ones((2, 3, 16), "float32"), training=True).shape == (2, 16)


@pytest.mark.parametrize("passed", ["kernel", "recurrent_kernel"])
def test_one_kernel_of_several_is_enough_to_choose_otherwise(passed, monkeypatch):
    layer = ks.layers.SparseGRU(16)
    layer.build((None, 3, 16))
    cell = layer.cell
    monkeypatch.setattr(cell, "_has_passed", lambda weight: weight == passed)
    assert cell.chooses_otherwise()
    monkeypatch.setattr(cell, "_has_passed", lambda weight: False)
    assert not cell.chooses_otherwise()


def test_missing_weights_stay_where_another_optimizer_trains_the_layer():
    layer = ks.layers.SparseDense(16, implementation="custom_op")
    model = keras.Sequential([keras.Input((32,)), layer])
    ks.SparseMomentum(sgd(), 0.25).build(model)
    kept, before = array(layer.mask), array(layer.kernel)
    model.compile("sgd", "mse")
    model.fit(np.ones((8, 32)), np.ones((8, 16)), verbose=0)
    changed = array(layer.kernel) != before
    np.testing.assert_array_equal(changed, kept)
