"""What is asked of the wrapper is the inner optimizer's."""

import inspect

import keras
import numpy as np
import pytest
from helpers import array, compiled, fit, sgd, sparse, toy_model

import keras_sparse as ks
from keras_sparse.training import wrapper

backend = pytest.mark.backend
pytestmark = backend
SETTINGS = {
    "weight_decay": 0.1,
    "clipnorm": 2.0,
    "clipvalue": 3.0,
    "global_clipnorm": 4.0,
    "ema_momentum": 0.5,
    "ema_overwrite_frequency": 5,
    "loss_scale_factor": 6.0,
    "momentum": 0.7,
    "nesterov": True,
}


@pytest.mark.parametrize(("name", "value"), SETTINGS.items())
def test_settings_are_read_and_set_through_it(name, value):
    optimizer = sparse()
    assert getattr(optimizer, name) == getattr(sgd(), name)
    setattr(optimizer, name, value)
    assert getattr(optimizer.inner_optimizer, name) == value


def test_what_neither_has_is_an_error():
    with pytest.raises(AttributeError, match="beta_3"):
        _ = sparse().beta_3


def test_its_own_attributes_are_its_own():
    class Noisy(keras.optimizers.SGD):
        prune_rate = 7

    optimizer = sparse(inner=Noisy(0.1, momentum=0.9), prune_rate=0.3)
    optimizer.prune_rate = 0.4
    assert (optimizer.prune_rate, optimizer.inner_optimizer.prune_rate) == (0.4, 7)


def test_weights_excluded_from_weight_decay_do_not_decay():
    model = toy_model()
    optimizer = ks.SparseMomentum(keras.optimizers.AdamW(0.1, weight_decay=0.5), 0.25)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(model)
    for variable in model.trainable_variables:
        variable.assign(keras.ops.ones(variable.shape))
    optimizer.apply_masks()
    optimizer.apply(
        [keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables
    )
    for variable in model.trainable_variables:
        values = array(variable)
        np.testing.assert_allclose(
            values[values != 0], 1.0 if variable.name == "bias" else 0.95, rtol=1e-6
        )


def test_averages_and_accumulated_gradients_are_kept_once():
    inner = keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True, gradient_accumulation_steps=2)
    model = compiled(ks.SparseMomentum(inner, 0.25))
    model.optimizer.build(model)
    assert model.optimizer.use_ema
    names = [variable.path.split("/")[-1] for variable in model.optimizer.variables]
    assert (
        len(names)
        == len(set(names)) + names.count("iteration") - 1 + names.count("learning_rate") - 1
    )


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_averaged_weights_are_swapped_in_by_kerass_callback(policy, dtype):
    policy(dtype)
    model = compiled(
        ks.SparseMomentum(keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True), 0.25)
    )
    fit(model, ks.UpdateMasks(), keras.callbacks.SwapEMAWeights(), epochs=2)


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has no MultiOptimizer yet"
)
def test_a_setting_that_a_multi_optimizer_ignores_is_an_error():
    optimizer = ks.SparseMomentum(
        keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(sgd())), 0.25
    )
    with pytest.raises(
        AttributeError, match="does not pass `clipnorm` on: set it on .*Received: clipnorm=1.0"
    ):
        optimizer.clipnorm = 1.0
    optimizer.exclude_from_weight_decay(var_names=["bias"])


def test_keras_sees_its_own_defaults_while_it_makes_the_wrapper():
    parameters = inspect.signature(keras.optimizers.SGD).parameters
    defaults = {name: parameters[name].default for name in wrapper.SETTINGS}
    assert defaults == wrapper.SETTINGS


def test_private_attributes_are_those_of_each():
    class Noted(keras.optimizers.SGD):
        _note = 7

    optimizer = sparse(inner=Noted(0.1, momentum=0.9))
    with pytest.raises(AttributeError, match="no attribute '_note'"):
        _ = optimizer._note
    optimizer._note = 3
    assert (optimizer._note, optimizer.inner_optimizer._note) == (3, 7)


def test_a_learning_rate_of_its_own_is_0_and_never_used():
    optimizer = sparse()
    assert float(array(optimizer._learning_rate)) == 0.0
    assert float(array(optimizer.learning_rate)) == pytest.approx(0.05)
