"""Every Keras optimizer under the same claims. A new one in Keras fails here until it has a row."""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from backends import each
from helpers import STEPS, MasksHold, after_two_steps, assert_same, compiled, fit, toy_model
from steps_by_hand import go_on, state_of, step_by_hand

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


class Weight(NamedTuple):
    """Of a masked weight: copies of its values, mask and momentum."""

    values: np.ndarray
    mask: np.ndarray
    momentum: np.ndarray


class Run(NamedTuple):
    """A training of sparse layers by XLA: three epochs, a file, and how it went on from there."""

    weights: list[Weight]
    state: list[np.ndarray]
    file: Any
    later: list[np.ndarray]
    later_weights: list[Weight]


def weights_of(optimizer):
    views = [one.view() for one in optimizer.masked_weights]
    return [Weight(*map(np.array, (one.weight, one.mask, one.momentum))) for one in views]


def run_of(folder, name):
    """Of half of the weights; masks held at every batch."""
    keras.utils.set_random_seed(0)
    model, check = (
        compiled(sparse(name, 0.5), ks.sparsify(toy_model()), jit_compile=True),
        MasksHold(),
    )
    fit(model, ks.UpdateMasks(), check)
    assert check.ends == 3 * STEPS
    weights, state, file = weights_of(model.optimizer), state_of(model), folder / f"{name}.keras"
    model.save(file)
    return Run(weights, state, file, go_on(model), weights_of(model.optimizer))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The Run of an optimizer, made once."""
    return functools.cache(functools.partial(run_of, tmp_path_factory.mktemp("runs")))


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
def test_weights_are_sparse_and_momenta_dense(name, run):
    for values, mask, momentum in run(name).weights:
        assert not values[~mask].any()
        # what has just grown may still be 0
        assert np.count_nonzero(values) > 0.5 * np.count_nonzero(mask)
        assert momentum.shape == mask.shape
        assert np.isfinite(momentum).all()
        missing = momentum[~mask]  # 0 if masks hid gradients
        assert np.count_nonzero(missing) > 0.8 * missing.size
    assert sum(one.mask.sum() for one in run(name).weights) == 96  # 0.5 * (128 + 64)


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
def test_an_update_in_sparse_layers_moves_weights_and_keeps_their_number(name, run):
    before, after = run(name).weights, run(name).later_weights
    assert any((b.mask != a.mask).any() for b, a in zip(before, after, strict=True))
    assert not any(one.values[~one.mask].any() for one in after)
    assert sum(one.mask.sum() for one in after) == 96


@backend
@each_optimizer
def test_at_density_1_its_steps_are_those_of_the_inner_optimizer(name):
    models, pair = [toy_model(), toy_model()], (sparse(name, density=1.0), ROWS[name].make())
    pair[0].build(models[0])
    models[1].set_weights(models[0].get_weights())
    pair[1].build(models[1].trainable_variables)
    for model, optimizer in zip(models, pair, strict=True):
        step_by_hand(optimizer, model.trainable_variables, steps=3)
    assert_same(*(model.get_weights() for model in models))


@backend
@pytest.mark.parametrize("name", ["SGD", "Adam", "MultiOptimizer", "ScheduleFreeAdamW"])
def test_at_density_1_a_training_is_that_of_the_inner_optimizer(name):
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
def test_a_saved_model_goes_on_as_if_nothing_had_happened(name, run):
    loaded = keras.models.load_model(run(name).file)
    assert_same(state_of(loaded), run(name).state)
    assert_same(go_on(loaded), run(name).later)


@backend
@pytest.mark.parametrize("name", ["Adam", "MultiOptimizer"])
def test_a_loaded_model_is_trained_as_the_one_that_was_saved(name, tmp_path):
    model = compiled(sparse(name))
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        fit(one, ks.UpdateMasks())
    assert_same(state_of(loaded), state_of(model))


def test_a_wrapper_in_a_wrapper_is_refused():
    for inner in (ks.SparseMomentum("adam", 0.5), optimizers.LossScaleOptimizer(optimizers.Adam())):
        with pytest.raises(
            ValueError, match="must not be a wrapper itself; put LossScaleOptimizer outside"
        ):
            ks.SparseMomentum(inner, 0.5)
