"""In training loops of your own, weights are masked after every step, too."""

import keras
import pytest
from helpers import (
    STEPS,
    assert_masks_hold,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sparse,
    toy_data,
    toy_model,
)

import keras_sparse as ks


def custom_loop(model, steps, how="graph"):
    import tensorflow as tf

    x, y = toy_data()

    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((model(x, training=True) - y) ** 2)
            loss = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)

    if how != "eager":
        step = tf.function(step, jit_compile=how == "xla")
    for i in range(steps):
        j = i % STEPS * 8
        step(x[j : j + 8], y[j : j + 8])
        assert_masks_hold(ks.sparse_optimizer(model))


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


def test_train_on_batch_masks_weights_in_every_step():
    model, (x, y) = compiled(), toy_data()
    for _ in range(STEPS):
        model.train_on_batch(x, y)
        assert_masks_hold(model.optimizer)


def in_a_multi_optimizer():
    parts = {".*hidden.*": sparse()}
    rest = keras.optimizers.Adam()
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(rest, parts))


@pytest.mark.parametrize(
    ("make", "layers", "how"),
    [
        (sparse, toy_model, "eager"),
        (sparse, toy_model, "xla"),
        (sparse, lambda: ks.sparsify(toy_model()), "eager"),
        (sparse, lambda: ks.sparsify(toy_model()), "graph"),
        (lambda: sparse(inner="adam"), lambda: ks.sparsify(toy_model()), "graph"),
        (lambda: keras.optimizers.LossScaleOptimizer(sparse()), toy_model, "graph"),
        (in_a_multi_optimizer, toy_model, "graph"),
    ],
)
def test_weights_are_masked_after_every_step_of_a_loop(make, layers, how):
    model = compiled(make(), layers())
    optimizer = ks.sparse_optimizer(model)
    optimizer.attach(model)
    model.optimizer.build(model.trainable_variables)
    optimizer.open_growth_window(False)
    custom_loop(model, STEPS, how)
    optimizer.open_growth_window(True)
    optimizer.start_training(STEPS)
    optimizer.update_masks()
    custom_loop(model, 2, how)
    assert 0 < optimizer.total_density() < 0.3
