"""A step hands the active weights of a large kernel to the forward product of the next step."""

import functools

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


def watched(model):
    """The model, whose gradients something else reads: no step takes a list and hands one over."""
    import tensorflow as tf

    optimizer, seen = model.optimizer, tf.Variable(0.0)
    apply = optimizer.apply

    def read_and_apply(gradients, variables=None):
        seen.assign(sum(tf.reduce_sum(one) for one in gradients))
        return apply(gradients, variables)

    optimizer.apply = read_and_apply
    return model


def add_in_place(model):
    model.layers[1].kernel.value.assign_add(to_numpy(model.layers[1].kernel) * 0.5)


def assign(model):
    model.layers[1].kernel.assign(to_numpy(model.layers[1].kernel) * 0.5)


def predict(model):
    model.predict(ROWS, verbose=0)


def train(model):
    model.fit(ROWS[:64], TARGETS[:64], 32, shuffle=False, verbose=0)


def update_behind_an_open_window(model):
    model.optimizer.open_growth_window(True)
    train(model)
    model.optimizer.update_masks()
    model.optimizer.open_growth_window(False)


BETWEEN = {
    "nothing": lambda model: None,
    "add_in_place": add_in_place,
    "assign": assign,
    "predict": predict,
    "update": update_behind_an_open_window,
}
SETTINGS = {"weights": {}, "blocks": {"structure": ks.Blocks(4, 4)}}


@functools.cache
def states(dtype, settings, watch):
    """All weights of one training, two steps behind each thing that happens between its steps."""
    keras.utils.set_random_seed(0)
    model, found = network(**SETTINGS[settings]), {}
    model = watched(model) if watch else model
    model.optimizer.build(model)
    model.optimizer.open_growth_window(False)
    train(model)
    for name, between in BETWEEN.items():
        between(model)
        train(model)
        found[name] = [np.array(to_numpy(value)) for value in model.variables]
    return found


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("settings", SETTINGS)
def test_a_training_has_the_bits_of_one_that_reads_all_kernels(between, settings, dtype, policy):
    policy(dtype)
    found, expected = (states(dtype, settings, watch) for watch in (False, True))
    for one, other in zip(found[between], expected[between], strict=True):
        np.testing.assert_array_equal(one, other)


def handed(model):
    """The names by which steps and products of a model's first training graph are paired."""
    nodes = nodes_that_ran(lambda: model.fit(ROWS, TARGETS, 32, verbose=0))
    names = [(node.attr["handed_values"].s, node.op) for node in nodes]
    products = sorted(name for name, op in names if name and "MatMul" in op)
    return products, sorted(name for name, op in names if name and "MatMul" not in op)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_each_step_is_paired_with_the_one_product_of_its_weight(dtype, policy):
    policy(dtype)
    products, steps = handed(network())
    assert products == steps
    assert len(set(steps)) == 3
    assert handed(watched(network())) == ([], [])


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
    model = network()
    model.optimizer.build(model)
    model.optimizer.open_growth_window(False)

    def address(layer):
        return np.asarray(memoryview(layer.kernel.value.read_value())).ctypes.data

    def moves(layer):
        before = address(layer)
        layer.kernel.value.assign_add(np.zeros(layer.kernel.shape, "float32"))
        return address(layer) != before

    model.train_on_batch(ROWS[:32], TARGETS[:32])
    assert [moves(layer) for layer in model.layers[:3]] == [True, True, False]
