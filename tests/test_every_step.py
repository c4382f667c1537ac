"""Masks at every step, with whatever Keras can do to it."""

import itertools

import keras
import numpy as np
import pytest
from backends import each
from helpers import (
    active,
    array,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sgd,
    toy_data,
    toy_model,
)

import keras_sparse as ks

backend = pytest.mark.backend
HEAD = "toy/head/kernel"


# --- every step, with whatever Keras can do to it

INNER = {
    "clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, clipnorm=0.1),
    "global_clipnorm": lambda: keras.optimizers.SGD(0.05, momentum=0.9, global_clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.SGD(0.05, momentum=0.9, clipvalue=0.1),
    "weight_decay": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "loss_scale_factor": lambda: keras.optimizers.SGD(0.05, momentum=0.9, loss_scale_factor=8.0),
    "accumulation": lambda: keras.optimizers.SGD(0.05, momentum=0.9, gradient_accumulation_steps=2),
    "ema": lambda: keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, ema_momentum=0.9),
    "ema_overwrite": lambda: keras.optimizers.SGD(
        0.05, momentum=0.9, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
    ),
    "schedule": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.05, 12), momentum=0.9
    ),
}


AVERAGED = [(name, 0.9) for name in ("loss_scale_factor", "accumulation", "ema_overwrite")]


@each(
    ("name", "average"),
    [*itertools.product(INNER, [None]), *AVERAGED],
    on_jax=list(itertools.product(INNER, [None])),
)
def test_settings_of_the_inner_optimizer(name, average):
    model = compiled(ks.SparseMomentum(INNER[name](), 0.25, gradient_momentum=average))
    start = model.get_weights()
    fit(model, ks.UpdateMasks(), epochs=2)
    assert_sparse(model, count=48)
    assert all((one != other).any() for one, other in zip(model.get_weights(), start, strict=True))


@each("name", INNER, on_jax=["global_clipnorm", "accumulation", "ema_overwrite"])
def test_settings_of_the_inner_optimizer_act_as_without_us(name):
    wrapped = compiled(ks.SparseMomentum(INNER[name](), 1.0), run_eagerly=True)
    plain = compiled(INNER[name](), run_eagerly=True)
    wrapped.optimizer.build(wrapped)
    plain.set_weights(wrapped.get_weights())
    for model in (wrapped, plain):
        for batch in range(6):
            model.train_on_batch(*(part[batch % 4 * 8 :][:8] for part in toy_data()))
        model.optimizer.finalize_variable_values(model.trainable_variables)  # as `fit` ends
    for one, other in zip(wrapped.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(
            one, other, rtol=1e-5, atol=1e-7
        )  # momentum in one operation may round the last bit otherwise


@each(
    ("name", "average"),
    [("mixed_float16", None), ("mixed_float16", 0.9), ("mixed_bfloat16", 0.9), ("bfloat16", 0.9)],
    on_jax=[("mixed_float16", 0.9), ("mixed_bfloat16", 0.9), ("bfloat16", 0.9)],
)
def test_dtypes(policy, name, average):
    policy(name)
    model = compiled(ks.SparseMomentum(sgd(), 0.25, gradient_momentum=average))
    fit(model, ks.UpdateMasks())
    optimizer = ks.training.find_optimizer.sparse_momentum_of(model)
    assert active(optimizer) == 48
    for variable, mask in zip(optimizer.masked_variables, optimizer.masks.values(), strict=True):
        assert mask.dtype == bool
        assert not array(variable).astype("float32")[~mask].any()
    for layer in (one.view() for one in optimizer.masked_weights):
        assert layer.momentum.dtype == layer.weight.dtype == np.float32


@backend
def test_a_step_skipped_for_infinite_gradients_does_not_count(policy):
    policy("mixed_float16")
    model, (x, y) = compiled(), toy_data()
    fit(model, ks.UpdateMasks())
    before, optimizer = model.get_weights(), ks.training.find_optimizer.sparse_momentum_of(model)
    steps = optimizer.step()
    model.train_on_batch(x, y + np.inf)
    assert optimizer.step() == steps
    assert_same(model.get_weights(), before)


@backend
def test_compiled_by_xla_or_not_the_masks_are_equal():
    models = compiled(jit_compile=False), compiled(jit_compile=True)
    models[1].set_weights(models[0].get_weights())
    for model in models:
        fit(model, ks.UpdateMasks())
        assert_sparse(model, count=48)
    assert_same(*[list(model.optimizer.masks.values()) for model in models])
    for one, other in zip(*[model.get_weights() for model in models], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@backend
def test_steps_per_execution_change_nothing():
    models = compiled(), compiled(steps_per_execution=4)
    models[1].set_weights(models[0].get_weights())
    for model in models:
        fit(model, ks.UpdateMasks())
    assert_same(models[1].get_weights(), models[0].get_weights())


def test_run_eagerly():
    model = compiled(run_eagerly=True)
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


class Noting(keras.layers.Dense):
    """Notes how many weights are active where it computes in a training."""

    def call(self, inputs, training=None):
        if training:
            self.active = [*getattr(self, "active", []), np.count_nonzero(array(self.kernel))]
        return super().call(inputs)


@pytest.mark.parametrize("first", [[], [keras.Input((8,))]], ids=["late", "built"])
def test_the_first_forward_pass_of_an_eager_training_is_sparse(first):
    layer = Noting(4)
    optimizer = ks.StaticSparsity(sgd(), 0.25, seed=0)
    model = compiled(optimizer, keras.Sequential([*first, layer]), run_eagerly=True)
    fit(model, ks.UpdateMasks(), epochs=1)
    assert list(layer.active) == [8] * 4  # a quarter of 8 x 4, in each of four steps


@pytest.mark.parametrize("first", [[], [keras.Input((8,))]], ids=["late", "built"])
def test_an_eager_training_without_the_callback_says_that_its_first_pass_was_dense(first):
    layer = Noting(4)
    optimizer = ks.StaticSparsity(sgd(), 0.25, seed=0)
    model = compiled(optimizer, keras.Sequential([*first, layer]), run_eagerly=True)
    with pytest.warns(UserWarning, match="first step .*dense weights: .*`optimizer.build.model"):
        fit(model, epochs=1)
    assert list(layer.active) == [32, 8, 8, 8]


@backend
def test_frozen_layers_have_no_mask():
    model = toy_model()
    model.layers[0].trainable = False
    kernel = array(model.layers[0].kernel)
    fit(compiled(model=model), ks.UpdateMasks())
    assert list(model.optimizer.masks) == [HEAD]
    np.testing.assert_array_equal(array(model.layers[0].kernel), kernel)
    assert_sparse(model, count=16)
