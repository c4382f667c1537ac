"""The momentum of a weight: what each family of optimizers means by it, by hand."""

import keras
import numpy as np
import pytest
from helpers import compiled, fit

import keras_sparse as ks
from keras_sparse.training.momentum import GradientAverage

pytestmark = pytest.mark.backend
optimizers = keras.optimizers
GRADIENTS = (2.0, -1.0)  # of the two steps of the one weight


def after_two_steps(optimizer):
    """momentum_of of a 1 x 2 kernel whose second weight gets minus the gradients of the first."""
    kernel, bias = keras.Variable([[1.0, 1.0]], name="kernel"), keras.Variable([0.0], name="bias")
    optimizer.build([bias, kernel])
    for gradient in GRADIENTS:
        optimizer.apply(
            [
                keras.ops.convert_to_tensor([0.0]),
                keras.ops.convert_to_tensor([[gradient, -gradient]]),
            ],
            [bias, kernel],
        )
    momentum = ks.momentum_of(optimizer, 1)
    assert momentum.dtype == np.float32
    return momentum


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (lambda: optimizers.SGD(0.1, momentum=0.5), 0.5 * -0.2 + 0.1),  # v = beta v - lr g
        (lambda: optimizers.Lion(0.1, beta_1=0.5, beta_2=0.75), 0.75 * 0.5 - 0.25),
        (
            lambda: optimizers.Adam(0.1, beta_1=0.75, beta_2=0.75),
            (0.75 * 0.5 - 0.25) / np.sqrt(0.75 * 1.0 + 0.25),
        ),
        (
            lambda: optimizers.AdamW(0.1, beta_1=0.75, beta_2=0.75),
            (0.75 * 0.5 - 0.25) / np.sqrt(0.75 * 1.0 + 0.25),
        ),
        (
            lambda: optimizers.Adamax(0.1, beta_1=0.75, beta_2=0.5),
            (0.75 * 0.5 - 0.25) / 1.0,
        ),  # u = max(0.5 * 2, 1)
        (
            lambda: optimizers.Nadam(0.1, beta_1=0.75, beta_2=0.75),
            (0.75 * 0.5 - 0.25) / np.sqrt(0.75 * 1.0 + 0.25),
        ),
        (
            lambda: optimizers.Lamb(0.1, beta_1=0.75, beta_2=0.75),
            (0.75 * 0.5 - 0.25) / np.sqrt(0.75 * 1.0 + 0.25),
        ),
        (lambda: GradientAverage(0.75), 0.75 * 0.5 - 0.25),
        (lambda: GradientAverage(0.0), -1.0),
    ],
)
def test_momentum_by_hand(optimizer, expected):
    np.testing.assert_allclose(
        after_two_steps(optimizer()), [[expected, -expected]], rtol=1e-5, atol=1e-7
    )


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


def test_an_average_changes_no_weight():
    kernel = keras.Variable([[1.0, 1.0]], name="kernel")
    average = GradientAverage(0.9)
    average.build([kernel])
    average.apply([keras.ops.ones((1, 2))], [kernel])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 1.0)


@pytest.mark.parametrize("decay", [-0.1, 1.0, True, "0.9"])
def test_decay_of_an_average(decay):
    with pytest.raises(
        ValueError, match="`gradient_momentum` must be in .*Received: gradient_momentum="
    ):
        GradientAverage(decay)


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
