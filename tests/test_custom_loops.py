"""Training loops of your own."""

import keras
import pytest
from helpers import STEPS, assert_same, assert_sparse, compiled, fit, toy_data

import keras_sparse as ks

backend = pytest.mark.backend


# --- custom training loops


def custom_loop(model, steps):
    import tensorflow as tf

    x, y = toy_data()

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)

    for i in range(steps):
        j = i % STEPS * 8
        step(x[j : j + 8], y[j : j + 8])


def test_a_loop_of_your_own_equals_fit():
    keras.utils.set_random_seed(0)
    models = compiled(), compiled()
    models[1].set_weights(models[0].get_weights())
    fit(models[0], ks.UpdateMasks(), epochs=2)
    optimizer = models[1].optimizer
    optimizer.build(models[1])
    optimizer.start_training(8)
    custom_loop(models[1], 4)
    optimizer.update_masks()
    custom_loop(models[1], 4)
    assert_same(models[1].get_weights(), models[0].get_weights())


def test_a_loop_must_say_how_long_it_is():
    model = compiled()
    model.optimizer.build(model)
    custom_loop(model, 4)
    with pytest.raises(ValueError, match=r"call `optimizer.start_training\(steps\)`"):
        model.optimizer.update_masks()
    model.optimizer.start_training(4)
    model.optimizer.update_masks()
    custom_loop(model, 4)
    assert_sparse(model, count=48)
