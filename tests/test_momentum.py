"""The momentum of a weight; test_conformance.py has that of each Keras optimizer by hand."""

import math

import keras
import numpy as np
import pytest
from helpers import after_two_steps, compiled, fit

import keras_sparse as ks
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.growth_window import steps_of
from keras_sparse.training.momentum import (
    KEPT,
    Kept,
    check_momentum,
    kept_by,
    linear_decay,
    reset_momentum,
)

pytestmark = pytest.mark.backend
optimizers = keras.optimizers


@pytest.mark.parametrize(("decay", "expected"), [(0.75, 0.75 * 0.5 - 0.25), (0.0, -1.0)])
def test_an_average_of_gradients_by_hand(decay, expected):
    momentum = after_two_steps(GradientAverage(decay))
    np.testing.assert_allclose(momentum, [[expected, -expected]], rtol=1e-5)


def test_rmsprop_moves_by_its_momentum():
    kernel = keras.Variable([[1.0, 1.0]], name="kernel")
    optimizer = optimizers.RMSprop(0.1, momentum=0.5)
    optimizer.build([kernel])
    optimizer.apply([keras.ops.convert_to_tensor([[2.0, -1.0]])], [kernel])
    np.testing.assert_allclose(
        ks.momentum_of(optimizer, 0), 1 - keras.ops.convert_to_numpy(kernel), rtol=1e-5
    )


def test_schedule_free_weights_are_no_momentum():
    with pytest.raises(TypeError, match="keeps none.*Received: inner_optimizer=ScheduleFreeAdamW"):
        after_two_steps(optimizers.ScheduleFreeAdamW(0.1))


def test_adam_steps_by_its_momentum_over_the_root_of_the_second_moment_and_a_little_more():
    optimizer = optimizers.Adam()
    optimizer.build([keras.Variable([[1.0, 1.0]], name="kernel")])
    optimizer._momentums[0].assign([[2e-8, 0.0]])
    optimizer._velocities[0].assign([[9e-16, 0.0]])  # 2 / (3 + 1)
    np.testing.assert_allclose(ks.momentum_of(optimizer, 0), [[0.5, 0.0]], rtol=1e-5)


def test_an_average_changes_no_weight():
    kernel = keras.Variable([[1.0, 1.0]], name="kernel")
    average = GradientAverage(0.9)
    average.build([kernel])
    average.apply([keras.ops.ones((1, 2))], [kernel])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 1.0)
    assert float(average.learning_rate) == 0.0


@pytest.mark.parametrize("decay", [-0.1, 1.0, True, "0.9"])
def test_decay_of_an_average(decay):
    with pytest.raises(
        ValueError, match="`gradient_momentum` must be in .*Received: gradient_momentum="
    ):
        GradientAverage(decay)


def test_a_reset_leaves_second_moments_and_what_is_no_momentum():
    adam, adagrad = optimizers.Adam(0.1), optimizers.Adagrad(0.1)
    after_two_steps(adam)
    adagrad.build([keras.Variable([[1.0, 1.0]])])
    accumulators = [keras.ops.convert_to_numpy(one) for one in adagrad.variables]
    for one in (adam, adagrad):
        reset_momentum(one)
    assert not any(keras.ops.convert_to_numpy(one).any() for one in adam._momentums)
    assert keras.ops.convert_to_numpy(adam._velocities[1]).all()
    for one, before in zip(adagrad.variables, accumulators, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), before)


def test_register_an_optimizer_of_your_own():
    class Own(optimizers.Optimizer):
        """Plain gradient descent that remembers its last gradient."""

        def build(self, variables):
            super().build(variables)
            self.last = self.add_optimizer_variables(variables, "last")

        def update_step(self, gradient, variable, learning_rate):
            self.assign(self.last[self._get_variable_index(variable)], gradient)
            self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * gradient)

    with pytest.raises(ValueError, match="keeps none"):
        ks.SparseMomentum(Own(0.1), 0.25)
    ks.momentum_of.register(
        Own, lambda optimizer, index: keras.ops.convert_to_numpy(optimizer.last[index])
    )
    model = compiled(ks.SparseMomentum(Own(0.1), 0.25))
    fit(model, ks.UpdateMasks())
    assert model.optimizer.total_density() == 0.25


def test_a_row_of_the_table_is_all_that_an_optimizer_needs(monkeypatch):
    class Own(optimizers.Optimizer):
        decay = 0.5

    inner = Own(0.1)
    window = ks.SparseMomentum(inner, 0.5, gradient_momentum=0.9).growth_window_steps
    assert window() == math.inf  # of an optimizer that is not known
    monkeypatch.setitem(KEPT, Own, Kept("velocities", linear_decay="decay"))
    assert linear_decay(inner) == 0.5
    assert steps_of("auto", ["momentum"], inner, None) == 8  # 0.5 ** 8 is less than 0.9 ** 50
    assert window() == 50  # of the average
    monkeypatch.setitem(KEPT, Own, Kept("velocities", is_elementwise=False))
    assert window() == math.inf


def test_the_momentum_of_a_sparse_optimizer_is_what_its_rules_read():
    kernel, gradient = keras.Variable([[1.0, 1.0]], name="kernel"), np.array([[2.0, 4.0]])
    inner = ks.SparseMomentum(keras.optimizers.SGD(0.5, momentum=0.9), 1.0, initial_scale=None)
    inner.apply([gradient], [kernel])
    np.testing.assert_allclose(ks.momentum_of(inner, 0), [[-1.0, -2.0]])  # -0.5 * gradient
    average = ks.SparseMomentum(
        keras.optimizers.SGD(0.5), 1.0, gradient_momentum=0.75, initial_scale=None
    )
    other = keras.Variable([[1.0, 1.0]], name="kernel")
    average.apply([gradient], [other])
    np.testing.assert_allclose(ks.momentum_of(average, 0), [[0.5, 1.0]])  # 0.25 * gradient


needs_multi_optimizer = pytest.mark.skipif(
    not hasattr(optimizers, "MultiOptimizer"), reason="Keras has no MultiOptimizer yet"
)


def several(one, other):
    """Two optimizers in one; the second has the variables that are called "b"."""
    return optimizers.MultiOptimizer(optimizers.OptimizerMap(one, {".*b.*": other}))


@needs_multi_optimizer
def test_each_part_of_several_optimizers_has_the_momentum_of_its_variables():
    variables = [keras.Variable([1.0, 1.0], name=name) for name in "ab"]
    optimizer = several(*(optimizers.SGD(0.5, momentum=momentum) for momentum in (0.9, 0.8)))
    optimizer.build(variables)
    optimizer.apply([keras.ops.convert_to_tensor([g, -g]) for g in (2.0, 4.0)], variables)
    np.testing.assert_allclose(ks.momentum_of(optimizer, 0), [-1.0, 1.0])  # -0.5 * gradient
    np.testing.assert_allclose(ks.momentum_of(optimizer, 1), [-2.0, 2.0])
    reset_momentum(optimizer)
    assert not any(ks.momentum_of(optimizer, index).any() for index in (0, 1))


@needs_multi_optimizer
@pytest.mark.parametrize("momenta", [(0.0, 0.9), (0.9, 0.0)])
def test_one_part_without_a_momentum_is_an_error(momenta):
    parts = [optimizers.SGD(0.5, momentum=momentum) for momentum in momenta]
    with pytest.raises(ValueError, match="keeps none.*Received: inner_optimizer=SGD, momentum=0.0"):
        check_momentum(several(*parts))
    check_momentum(several(optimizers.SGD(momentum=0.9), optimizers.Adam()))


def test_of_an_optimizer_that_is_not_known_each_step_may_look_at_all_gradients():
    assert not kept_by(optimizers.ScheduleFreeAdamW()).is_elementwise
