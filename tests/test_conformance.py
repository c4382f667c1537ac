"""Every Keras optimizer under the same claims. A new one in Keras fails here until it has a row."""

import inspect

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same, assert_sparse, compiled, fit

import keras_sparse as ks

pytestmark = pytest.mark.backend
optimizers = keras.optimizers


def multi(**arguments):
    return optimizers.MultiOptimizer(
        optimizers.OptimizerMap(
            optimizers.Adam(0.01),
            {".*head.*": optimizers.SGD(0.01, **{"momentum": 0.9, **arguments})},
        )
    )


# name: (makes the optimizer, arguments of SparseMomentum)
ROWS = {
    "Adadelta": (lambda: optimizers.Adadelta(1.0), {"gradient_momentum": 0.9}),
    "Adafactor": (lambda: optimizers.Adafactor(0.01), {"gradient_momentum": 0.9}),
    "Adagrad": (lambda: optimizers.Adagrad(0.01), {"gradient_momentum": 0.9}),
    "Adam": (lambda: optimizers.Adam(0.01), {}),
    "AdamW": (lambda: optimizers.AdamW(0.01, weight_decay=0.1), {}),
    "Adamax": (lambda: optimizers.Adamax(0.01), {}),
    "Ftrl": (lambda: optimizers.Ftrl(0.01), {"gradient_momentum": 0.9}),
    "Lamb": (lambda: optimizers.Lamb(0.01), {}),
    "Lion": (lambda: optimizers.Lion(0.001), {}),
    "MultiOptimizer": (multi, {}),
    "Muon": (lambda: optimizers.Muon(0.01), {}),
    "Nadam": (lambda: optimizers.Nadam(0.01), {}),
    "RMSprop": (lambda: optimizers.RMSprop(0.01, momentum=0.9), {}),
    "SGD": (lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True), {}),
    "ScheduleFreeAdamW": (lambda: optimizers.ScheduleFreeAdamW(0.01), {"gradient_momentum": 0.9}),
}
WITHOUT_MOMENTUM = {
    "SGD": lambda: optimizers.SGD(0.05),
    "RMSprop": lambda: optimizers.RMSprop(0.01),
    "MultiOptimizer": lambda: multi(momentum=0.0),
    **{name: make for name, (make, settings) in ROWS.items() if settings},
}
each_optimizer = pytest.mark.parametrize("name", list(ROWS))


def sparse(name, density=0.25):
    make, settings = ROWS[name]
    return ks.SparseMomentum(make(), density, **settings)


def trained(name, density=0.25):
    model = compiled(sparse(name, density))
    fit(model, ks.UpdateMasks())
    return model


def test_every_optimizer_of_keras_has_a_row():
    classes = [
        value
        for value in vars(optimizers).values()
        if inspect.isclass(value) and issubclass(value, optimizers.Optimizer)
    ]
    assert {found.__name__ for found in classes} - {"Optimizer", "LossScaleOptimizer"} == set(ROWS)


@pytest.mark.parametrize("name", list(WITHOUT_MOMENTUM))
def test_no_momentum_is_an_error_that_says_what_to_do(name):
    with pytest.raises(
        ValueError, match="keeps none.*`gradient_momentum=0.9`.*Received: inner_optimizer="
    ):
        ks.SparseMomentum(WITHOUT_MOMENTUM[name](), 0.25)
    ks.SparseMomentum(WITHOUT_MOMENTUM[name](), 0.25, gradient_momentum=0.9)  # the cure


@each_optimizer
def test_weights_are_sparse_and_momenta_dense(name):
    model = trained(name, density=0.5)
    assert_sparse(model, count=96)  # 0.5 * (128 + 64)
    for layer in model.optimizer._layers():
        assert layer.momentum.shape == layer.mask.shape
        assert np.isfinite(layer.momentum).all()
        assert np.count_nonzero(layer.momentum[~layer.mask]) > 0.8 * np.count_nonzero(
            ~layer.mask
        )  # 0 if masks hid gradients


@each_optimizer
def test_an_update_moves_weights_and_keeps_their_number(name):
    model = trained(name)
    before = model.optimizer.masks
    model.optimizer.start_training(100)
    model.optimizer.update_masks()
    assert any((before[path] != mask).any() for path, mask in model.optimizer.masks.items())
    for variable, mask in zip(
        model.optimizer.masked_variables, model.optimizer.masks.values(), strict=True
    ):
        assert not array(variable)[~mask].any()
    assert sum(mask.sum() for mask in model.optimizer.masks.values()) == 48


@each_optimizer
def test_at_density_1_it_is_the_inner_optimizer(name):
    wrapped = compiled(sparse(name, density=1.0))
    plain = compiled(ROWS[name][0]())
    plain.set_weights(wrapped.get_weights())
    plain.optimizer.build(
        plain.trainable_variables
    )  # Keras' own lazy build forgets ScheduleFreeAdamW's start
    fit(wrapped, ks.UpdateMasks())
    fit(plain)
    assert_same(wrapped.get_weights(), plain.get_weights())


@each_optimizer
def test_config_round_trip(name):
    optimizer = sparse(name)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert type(again.inner_optimizer) is type(optimizer.inner_optimizer)


@each_optimizer
def test_a_saved_model_goes_on_as_if_nothing_had_happened(name, tmp_path):
    model = trained(name)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(arrays(loaded.optimizer.variables), arrays(model.optimizer.variables))
    for one in (model, loaded):
        fit(one, ks.UpdateMasks())
    assert_same(loaded.get_weights(), model.get_weights())
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))


def test_a_wrapper_in_a_wrapper_is_refused():
    for inner in (ks.SparseMomentum("adam", 0.5), optimizers.LossScaleOptimizer(optimizers.Adam())):
        with pytest.raises(
            ValueError, match="must not be a wrapper itself; put LossScaleOptimizer outside"
        ):
            ks.SparseMomentum(inner, 0.5)
