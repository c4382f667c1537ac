"""A weight is stepped and masked by one operation, where it gives what two passes give."""

import functools

import keras
import numpy as np
import pytest
from helpers import MasksHold, apply_ones, assert_masks_hold
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse._keras import to_numpy
from keras_sparse.training import fused_steps

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the operation is TensorFlow's"
)


def trained(monkeypatch, fused, inner, constraint=None, layers=False, **arguments):
    """All variables after steps with an open growth window, a closed one, and an update."""
    if not fused:
        monkeypatch.setattr(
            "keras_sparse.training.fused_steps._can_mask", lambda optimizer, variable: False
        )
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dense(30, activation="relu", kernel_constraint=constraint),
            keras.layers.Dense(4),
        ]
    )
    model = ks.sparsify(model, verbose=False) if layers else model
    optimizer = ks.SparseMomentum(inner(), density=0.25, prune_rate=0.3)
    model.compile(optimizer, "mse", **arguments)
    optimizer.build(model)
    for steps, window in ((2, True), (4, False), (2, True)):
        optimizer.open_growth_window(window)
        train(model, steps)
    optimizer.update_masks()
    train(model, 2)
    monkeypatch.undo()
    return [to_numpy(v) for v in [*model.variables, *optimizer.variables]]


def train(model, steps):
    """Steps, each with a check of the masks; by `fit` where it is to make several at once."""
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(32 * steps, n)).astype("float32") for n in (20, 4))
    if model.steps_per_execution > 1:
        model.fit(x, y, 32, verbose=0, shuffle=False, callbacks=[MasksHold()])
        return
    for first in range(0, 32 * steps, 32):
        model.train_on_batch(x[first : first + 32], y[first : first + 32])
        assert_masks_hold(model.optimizer)


def sgd(**settings):
    return functools.partial(keras.optimizers.SGD, learning_rate=0.05, momentum=0.9, **settings)


def adam(cls=keras.optimizers.Adam, **settings):
    return functools.partial(cls, learning_rate=0.01, **settings)


EAGER, GRAPH, XLA = {"run_eagerly": True}, {"jit_compile": False}, {"jit_compile": True}
DECAY = {"weight_decay": 0.01, "clipnorm": 1.0}
AVERAGES = {"use_ema": True, "ema_overwrite_frequency": 3}


@needs_ops
@pytest.mark.filterwarnings("ignore:The masks of .* did not change")
@pytest.mark.parametrize(
    ("inner", "arguments"),
    [
        (sgd(), GRAPH),
        (sgd(), {**GRAPH, "layers": True}),
        (sgd(), {**GRAPH, "steps_per_execution": 2}),
        (sgd(), {**EAGER, "constraint": "max_norm"}),
        (sgd(nesterov=True, **DECAY), EAGER),
        (sgd(gradient_accumulation_steps=2), GRAPH),
        (sgd(gradient_accumulation_steps=2, nesterov=True), XLA),
        (sgd(loss_scale_factor=8.0), EAGER),
        (sgd(**AVERAGES), GRAPH),
        (adam(), XLA),
        (adam(), {**GRAPH, "layers": True}),
        (adam(keras.optimizers.AdamW, **DECAY), GRAPH),
        (adam(beta_1=0.5, beta_2=0.9, epsilon=1e-3), EAGER),
        (adam(gradient_accumulation_steps=2), EAGER),
        (adam(amsgrad=True), EAGER),
    ],
)
def test_a_training_is_that_of_two_passes(monkeypatch, inner, arguments):
    expected, found = (trained(monkeypatch, fused, inner, **arguments) for fused in (False, True))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@needs_ops
def test_weights_are_masked_once(monkeypatch):
    import tensorflow as tf

    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(4),
            keras.layers.Dense(4, kernel_constraint="non_neg"),
        ]
    )
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5)
    optimizer.build(model)
    multiplied = []
    monkeypatch.setattr(
        "keras_sparse.training.masked_steps.apply_masks",
        lambda weights: multiplied.extend(one.index for one in weights),
    )
    step = tf.function(lambda: apply_ones(optimizer, model))
    step.get_concrete_function()
    assert [one.index for one in optimizer.masked_weights] == [0, 2]
    assert multiplied == [2]  # the constraint comes after the step


@needs_ops
def test_the_inner_optimizer_on_its_own_masks_nothing():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5)
    optimizer.build(model)
    apply_ones(optimizer.inner_optimizer, model)
    assert to_numpy(model.layers[0].kernel).all()
    apply_ones(optimizer, model)
    assert (to_numpy(model.layers[0].kernel) != 0).mean() == 0.5
    assert "update_step" not in vars(optimizer.inner_optimizer)  # it is left as it was


@needs_ops
def test_a_strategy_keeps_two_passes():
    import tensorflow as tf

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5)
        optimizer.build(model)
        step = tf.function(lambda: apply_ones(optimizer, model))
        operations = [
            op.type
            for op in tf.function(lambda: strategy.run(step))
            .get_concrete_function()
            .graph.get_operations()
        ]
    assert "KerasSparse>ApplyMaskedMomentum" not in operations


@needs_ops
def test_a_weight_that_was_made_before_a_strategy_keeps_two_passes_in_its_scope():
    import tensorflow as tf

    optimizer = keras.optimizers.SGD(momentum=0.9)
    weight, strategy = keras.Variable([1.0]), tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        assert not fused_steps._can_mask(optimizer, weight)
    assert fused_steps._can_mask(optimizer, weight)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", True), ("float16", False)])
def test_only_float32_weights_are_stepped_and_masked_at_once(dtype, expected):
    optimizer, variable = keras.optimizers.SGD(momentum=0.9), keras.Variable([1.0], dtype=dtype)
    assert fused_steps._can_mask(optimizer, variable) is expected
    averaged = keras.optimizers.SGD(momentum=0.9, use_ema=True)
    assert fused_steps._can_mask(averaged, variable) is False
    variable.constraint = keras.constraints.NonNeg()
    assert fused_steps._can_mask(optimizer, variable) is False
