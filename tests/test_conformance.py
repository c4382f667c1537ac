"""Every Keras optimizer under the same claims. A new one in Keras fails here until it has a row."""

import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from backends import each
from helpers import (
    STEPS,
    MasksHold,
    after_two_steps,
    arrays,
    assert_masks_hold,
    assert_same,
    assert_sparse,
    compiled,
    fit,
    toy_model,
)

import keras_sparse as ks

backend = pytest.mark.backend
optimizers = keras.optimizers


def several(default, **parts):
    return optimizers.MultiOptimizer(optimizers.OptimizerMap(default, parts))


def multi(momentum=0.9):
    head = optimizers.SGD(0.01, momentum=momentum)
    return several(optimizers.Adam(0.01), **{".*head.*": head})


class Row(NamedTuple):
    """What must hold of one optimizer.

    ``window``: steps of ``growth_window="auto"``: 50 for a decay of 0.9, as 0.9^50 = 0.5 %.
    ``momentum``: of a weight with the gradients 2 and -1, or None: the optimizer keeps none.
    """

    make: Callable[[], Any]
    window: float
    momentum: float | None
    by_hand: Callable[[], Any] | None = None  # with the decays that ``momentum`` is computed for

    @property
    def arguments(self):
        """The arguments of SparseMomentum: an optimizer without a momentum needs an average."""
        return {"gradient_momentum": 0.9} if self.momentum is None else {}


EVEN = {"learning_rate": 0.1, "beta_1": 0.75, "beta_2": 0.75}
BY_ADAM = (0.75 * 0.5 - 0.25) / math.sqrt(0.75 * 1.0 + 0.25)
ROWS = {
    "Adadelta": Row(lambda: optimizers.Adadelta(1.0), math.inf, None),
    "Adafactor": Row(lambda: optimizers.Adafactor(0.01, epsilon_1=1e-16), math.inf, None),
    "Adagrad": Row(lambda: optimizers.Adagrad(0.01), math.inf, None),
    "Adam": Row(lambda: optimizers.Adam(0.01), 50, BY_ADAM, lambda: optimizers.Adam(**EVEN)),
    "AdamW": Row(
        lambda: optimizers.AdamW(0.01, weight_decay=0.1),
        50,
        BY_ADAM,
        lambda: optimizers.AdamW(**EVEN),
    ),
    "Adamax": Row(
        lambda: optimizers.Adamax(0.01),
        50,
        (0.75 * 0.5 - 0.25) / 1.0,  # the second moment is max(0.5 * 2, 1)
        lambda: optimizers.Adamax(0.1, beta_1=0.75, beta_2=0.5),
    ),
    "Ftrl": Row(lambda: optimizers.Ftrl(0.01), math.inf, None),
    "Lamb": Row(lambda: optimizers.Lamb(0.01), math.inf, BY_ADAM, lambda: optimizers.Lamb(**EVEN)),
    "Lion": Row(
        lambda: optimizers.Lion(0.001),
        525,  # its beta_2 is 0.99, and 0.99^525 = 0.5 %
        0.75 * 0.5 - 0.25,
        lambda: optimizers.Lion(0.1, beta_1=0.5, beta_2=0.75),
    ),
    "MultiOptimizer": Row(
        multi,
        50,
        0.75 * -0.2 + 0.1,  # the kernel is the second variable of all, and the first of its part
        lambda: several(optimizers.Adam(), kernel=optimizers.SGD(0.1, momentum=0.75)),
    ),
    "Muon": Row(
        lambda: optimizers.Muon(0.01),
        math.inf,
        0.75 * 2.0 - 1.0,
        lambda: optimizers.Muon(0.1, momentum=0.75),
    ),
    "Nadam": Row(lambda: optimizers.Nadam(0.01), 50, BY_ADAM, lambda: optimizers.Nadam(**EVEN)),
    "RMSprop": Row(
        lambda: optimizers.RMSprop(0.01, momentum=0.9),
        math.inf,
        # each gradient over the root of the second moment, which is 0.25 * 4, then 0.75 + 0.25
        0.75 * (0.1 * 2.0) - 0.1,
        lambda: optimizers.RMSprop(0.1, rho=0.75, momentum=0.75),
    ),
    "SGD": Row(
        lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        50,
        0.75 * -0.2 + 0.1,  # m * momentum - rate * gradient
        lambda: optimizers.SGD(0.1, momentum=0.75),
    ),
    "ScheduleFreeAdamW": Row(lambda: optimizers.ScheduleFreeAdamW(0.01), math.inf, None),
}
WITHOUT_MOMENTUM = {
    "SGD": lambda: optimizers.SGD(0.05),
    "RMSprop": lambda: optimizers.RMSprop(0.01),
    "MultiOptimizer": lambda: multi(momentum=0.0),
    **{name: row.make for name, row in ROWS.items() if row.momentum is None},
}
each_optimizer = pytest.mark.parametrize("name", list(ROWS))


def sparse(name, density=0.25):
    return ks.SparseMomentum(ROWS[name].make(), density, **ROWS[name].arguments)


def trained(name, density=0.25, model=None, **arguments):
    """A model after three epochs, whose masks held at every batch."""
    model, check = compiled(sparse(name, density), model, **arguments), MasksHold()
    fit(model, ks.UpdateMasks(), check)
    assert check.ends == 3 * STEPS
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


@backend
@each_optimizer
def test_weights_are_sparse_and_momenta_dense(name):
    model = trained(name, density=0.5, jit_compile=True)
    assert_sparse(model, count=96)  # 0.5 * (128 + 64)
    for layer in (one.view() for one in model.optimizer.masked_weights):
        assert layer.momentum.shape == layer.mask.shape
        assert np.isfinite(layer.momentum).all()
        missing = layer.momentum[~layer.mask]  # 0 if masks hid gradients
        assert np.count_nonzero(missing) > 0.8 * missing.size


@backend
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.momentum is not None])
def test_momentum_after_two_steps_by_hand(name):
    expected = ROWS[name].momentum
    momentum = after_two_steps(ROWS[name].by_hand())
    np.testing.assert_allclose(momentum, [[expected, -expected]], rtol=1e-5)


@each_optimizer
def test_the_automatic_growth_window_is_that_of_the_momentum(name):
    assert sparse(name).growth_window_steps() == ROWS[name].window


@each("name", ROWS, on_jax=["SGD", "Adam", "MultiOptimizer"])
def test_an_update_in_sparse_layers_moves_weights_and_keeps_their_number(name):
    model = trained(name, model=ks.sparsify(toy_model()))
    before = model.optimizer.masks
    model.optimizer.start_training(100)
    model.optimizer.update_masks()
    assert any((before[path] != mask).any() for path, mask in model.optimizer.masks.items())
    assert_masks_hold(model.optimizer)
    assert sum(mask.sum() for mask in model.optimizer.masks.values()) == 48


@each("name", ROWS, on_jax=["SGD", "Adam", "MultiOptimizer", "ScheduleFreeAdamW"])
def test_at_density_1_it_is_the_inner_optimizer(name):
    wrapped = compiled(sparse(name, density=1.0))
    plain = compiled(ROWS[name].make())
    plain.set_weights(wrapped.get_weights())
    # Keras' own lazy build forgets ScheduleFreeAdamW's start
    plain.optimizer.build(plain.trainable_variables)
    fit(wrapped, ks.UpdateMasks())
    fit(plain)
    assert_same(wrapped.get_weights(), plain.get_weights())


@each_optimizer
def test_config_round_trip(name):
    optimizer = sparse(name)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert type(again.inner_optimizer) is type(optimizer.inner_optimizer)


@each("name", ROWS, on_jax=["Adam", "MultiOptimizer"])
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
