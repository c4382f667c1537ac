"""A step hands the active weights of a large kernel to the forward product of the next step."""

import keras
import numpy as np
import pytest
from graphs import nodes_that_ran
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse._keras import to_numpy

pytestmark = needs_ops
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(96, 1024)).astype("float32")
TARGETS = RNG.normal(size=(96, 4)).astype("float32")


def network(**settings):
    """Two kernels of 2 MiB and more, which are large, a small one, and a dense layer."""
    units = (512, 1024, 32)
    hidden = [ks.layers.SparseDense(n, "relu", implementation="custom_op") for n in units]
    model = keras.Sequential([keras.Input((1024,)), *hidden, keras.layers.Dense(4)])
    optimizer = ks.SparseMomentum(
        keras.optimizers.SGD(0.02, momentum=0.9), 0.2, prune_rate=0.3, seed=0, **settings
    )
    optimizer.updates_are_planned = True  # this file makes them
    model.compile(optimizer, "mse", jit_compile=False)
    return model


def trained(watch, between=lambda model: None, **settings):
    """All weights after steps with closed and open windows; `watch`: something reads gradients.

    Then no step takes a list, and none hands one over.
    """
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = network(**settings)
    optimizer = model.optimizer
    optimizer.build(model)
    apply, seen = optimizer.apply, tf.Variable(0.0)

    def read_and_apply(gradients, variables=None):
        seen.assign(sum(tf.reduce_sum(one) for one in gradients))
        return apply(gradients, variables)

    if watch:
        optimizer.apply = read_and_apply
    for is_open in (False, True, False):
        optimizer.open_growth_window(is_open)
        model.fit(ROWS, TARGETS, 32, shuffle=False, verbose=0)
        if is_open:
            optimizer.update_masks()
        between(model)
    return model, [to_numpy(value) for value in model.variables]


def add_in_place(model):
    model.layers[1].kernel.value.assign_add(to_numpy(model.layers[1].kernel) * 0.5)


def assign(model):
    model.layers[1].kernel.assign(to_numpy(model.layers[1].kernel) * 0.5)


def predict(model):
    model.predict(ROWS, verbose=0)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("between", [lambda model: None, add_in_place, assign, predict])
@pytest.mark.parametrize("settings", [{}, {"structure": ks.Blocks(4, 4)}])
def test_a_training_has_the_bits_of_one_that_reads_all_kernels(between, settings, dtype, policy):
    policy(dtype)
    (_, found), (_, expected) = (trained(watch, between, **settings) for watch in (False, True))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def handed(model):
    """The names by which steps and products of a training graph are paired."""
    model.train_function = None  # a graph is recorded when it is made
    nodes = nodes_that_ran(lambda: model.fit(ROWS, TARGETS, 32, verbose=0))
    names = [(node.attr["handed_values"].s, node.op) for node in nodes]
    products = sorted(name for name, op in names if name and "MatMul" in op)
    return products, sorted(name for name, op in names if name and "MatMul" not in op)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_each_step_is_paired_with_the_one_product_of_its_weight(dtype, policy):
    policy(dtype)
    model, _ = trained(watch=False)
    products, steps = handed(model)
    assert products == steps
    assert len(set(steps)) == 3
    assert handed(trained(watch=True)[0]) == ([], [])


def test_a_layer_that_is_called_twice_hands_nothing_over():
    inputs = keras.Input((1024,))
    layer = ks.layers.SparseDense(1024, implementation="custom_op", use_bias=False)
    frozen = ks.layers.SparseDense(1024, implementation="custom_op", trainable=False)
    outputs = keras.layers.Dense(4)(frozen(layer(layer(inputs))))
    model = keras.Model(inputs, outputs)
    model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.01, momentum=0.9), 0.2), "mse")
    model.optimizer.updates_are_planned = True
    assert handed(model) == ([], [])


def test_what_is_handed_over_is_the_memory_of_the_weight_at_large_kernels_alone():
    """Whoever writes it in place then writes to other memory."""
    model, _ = trained(watch=False)

    def address(layer):
        return np.asarray(memoryview(layer.kernel.value.read_value())).ctypes.data

    def moves(layer):
        before = address(layer)
        layer.kernel.value.assign_add(np.zeros(layer.kernel.shape, "float32"))
        return address(layer) != before

    model.train_on_batch(ROWS[:32], TARGETS[:32])
    assert [moves(layer) for layer in model.layers[:3]] == [True, True, False]
