"""UpdateMasks and SparseMomentum: whose settings, and what is not forgotten silently."""

import keras
import numpy as np
import pytest
from helpers import (
    active,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    sgd,
    sparse,
    toy_data,
)

import keras_sparse as ks

backend = pytest.mark.backend
STEADY = {"prune_rate": 0.5}


# --- whose optimizer


class Wrapper(keras.optimizers.Optimizer):
    """As users write them."""

    def __init__(self, inner_optimizer):
        super().__init__(learning_rate=0.0)
        self.inner_optimizer = inner_optimizer

    def build(self, variables):
        self.inner_optimizer.build(variables)
        super().build(variables)

    def apply(self, grads, trainable_variables=None):
        self.inner_optimizer.apply(grads, trainable_variables)


def test_the_sparse_optimizer_is_found_whatever_wraps_it(policy):
    policy("mixed_float16")
    model = compiled(sparse())
    assert type(model.optimizer) is keras.optimizers.LossScaleOptimizer
    assert ks.sparse_optimizer(model) is model.optimizer.inner_optimizer
    policy("float32")
    for wrap in (lambda o: o, Wrapper, lambda o: Wrapper(Wrapper(o))):
        inner = sparse()
        model = compiled(wrap(inner))
        assert ks.sparse_optimizer(model) is ks.sparse_optimizer(model.optimizer) is inner
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has it from 3.15 on"
)
def test_the_sparse_optimizer_is_found_in_a_multi_optimizer():
    inner, adam = sparse(), keras.optimizers.Adam()
    model = compiled(
        keras.optimizers.MultiOptimizer(lambda v: inner if "hidden" in v.path else adam)
    )
    fit(model, ks.UpdateMasks())
    assert ks.sparse_optimizer(model) is inner
    assert list(inner.masks) == ["toy/hidden/kernel"]
    assert inner.total_density() == 0.25


def test_a_model_without_a_sparse_optimizer_says_what_to_do():
    with pytest.raises(
        ValueError,
        match=r"compile the model with keras_sparse.SparseMomentum\(.*Received: optimizer=SGD",
    ):
        ks.sparse_optimizer(compiled(sgd()))
    model = compiled(sgd())
    model.generators, model.critics = sparse(name="one"), [sparse(name="other")]
    with pytest.raises(ValueError, match=r"several SparseMomentum.*'one', 'other'"):
        ks.sparse_optimizer(model)


# --- whose settings


@backend
def test_callback_alone_wraps_the_optimizer(updates):
    model = compiled(sgd())
    callback = ks.UpdateMasks(density=0.25, prune_rate=0.5)
    fit(model, callback)
    assert type(model.optimizer) is ks.SparseMomentum
    assert_sparse(model, count=48)
    fit(model, callback)
    assert updates == [4, 8, 12, 16, 20]
    assert_sparse(model, count=48)


def test_callback_alone_is_the_same_as_the_wrapper_in_files_too(tmp_path):
    models = compiled(sgd()), compiled(sparse())
    models[1].set_weights(models[0].get_weights())
    fit(models[0], ks.UpdateMasks(density=0.25, seed=0, **STEADY))
    fit(models[1], ks.UpdateMasks())
    assert_same(models[0].get_weights(), models[1].get_weights())
    models[0].save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(list(loaded.optimizer.masks.values()), list(models[1].optimizer.masks.values()))


@backend
def test_callback_alone_under_loss_scaling(policy):
    policy("mixed_float16")
    model = compiled(sgd())
    assert type(model.optimizer) is keras.optimizers.LossScaleOptimizer
    fit(model, ks.UpdateMasks(density=0.25))
    assert type(model.optimizer.inner_optimizer) is ks.SparseMomentum
    assert_sparse(model, count=48)


@backend
def test_callback_alone_under_loss_scaling_makes_a_trained_model_sparse(policy):
    policy("mixed_float16")
    model = compiled(sgd())
    fit(model, epochs=1)
    fit(model, ks.UpdateMasks(density=0.25, initial_masks="magnitude"))
    assert_sparse(model, count=48)


def test_settings_in_two_places():
    with pytest.raises(ValueError, match=r"Leave them out here.*these differ: \['density'\]"):
        fit(compiled(), ks.UpdateMasks(density=0.5))
    with pytest.raises(ValueError, match=r"UpdateMasks\(density=...\).*Received: optimizer=SGD"):
        fit(compiled(sgd()), ks.UpdateMasks())


@pytest.mark.parametrize("every", [0, -1, 2.5, "batch", True])
def test_every_must_be_an_epoch_or_a_number(every):
    with pytest.raises(ValueError, match="`every` must be a positive integer, .* Received: every="):
        ks.UpdateMasks(every=every)


def test_bad_settings_fail_before_fit():
    with pytest.raises(ValueError, match="Received: density=2.0"):
        ks.UpdateMasks(density=2.0)
    with pytest.raises(TypeError, match="sparsity"):
        ks.UpdateMasks(sparsity=0.9)


# --- nothing is forgotten silently


@backend
def test_fit_without_the_callback_warns():
    model = compiled()
    with pytest.warns(UserWarning, match="`fit` has no UpdateMasks callback"):
        fit(model)
    fit(model, epochs=1)  # no second warning
    assert_sparse(model, count=48)


@backend
@pytest.mark.parametrize("callbacks", [[], [ks.UpdateMasks()]])
def test_static_masks_warn_of_nothing(callbacks):
    model = compiled(ks.StaticSparsity(sgd(), 0.25))
    model.optimizer.build(model)
    before = list(model.optimizer.masks.values())
    fit(model, *callbacks, epochs=2)
    assert_same(list(model.optimizer.masks.values()), before)
    assert_sparse(model, count=48)


@pytest.mark.parametrize(("every", "epochs"), [(None, 1), (100, 3)])
def test_a_training_too_short_for_an_update_warns(every, epochs):
    with pytest.warns(
        UserWarning, match=f"ends before the first update is due.*epochs={epochs}, steps=4"
    ):
        fit(compiled(), ks.UpdateMasks(every=every), epochs=epochs)


def test_nan_in_momentum_names_the_layer_and_keeps_the_masks():
    model = compiled()
    fit(model, ks.UpdateMasks())
    model.optimizer.inner_optimizer.momentums[2].assign(np.full((16, 4), np.nan))
    before = model.optimizer.masks
    model.optimizer.start_training(10)
    with pytest.raises(
        ValueError, match="head/kernel.*NaN|NaN.*head/kernel.*masks were not changed"
    ):
        model.optimizer.update_masks()
    assert_same(list(model.optimizer.masks.values()), list(before.values()))


def test_nan_in_fit_says_so_at_the_next_update():
    x, y = toy_data()
    with pytest.raises(ValueError, match="toy/hidden/kernel.*masks were not changed"):
        fit(compiled(), ks.UpdateMasks(), data=(x * np.nan, y))


def test_terminate_on_nan_ends_quietly():
    x, y = toy_data()
    model = compiled()
    history = fit(model, ks.UpdateMasks(), keras.callbacks.TerminateOnNaN(), data=(x * np.nan, y))
    assert len(history.epoch) == 1
    assert active(model.optimizer) == 48


def test_numbers_may_be_numpys():
    """A period that is no Python int must not be taken for "every epoch"."""
    assert type(ks.UpdateMasks(every=np.int64(3)).every) is int
    assert ks.SparseMomentum(sgd(), np.float32(0.25), prune_rate=np.float32(0.5)).density == 0.25
