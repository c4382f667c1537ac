"""The length of growth windows: steps before an update in which missing weights get gradients."""

import math

import keras
import numpy as np
import pytest
from helpers import sgd, sparse

import keras_sparse as ks
from keras_sparse.training.growth_window import steps_of

backend = pytest.mark.backend


@ks.scores.needs("momentum")
def own_score(layer, rng):
    return np.abs(layer.momentum)


@ks.scores.needs("momentum")
def own_share(layer):
    return np.abs(layer.momentum).max()


@backend
@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda: ks.SparseMomentum(sgd(), 0.1), 50),
        (
            lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.99, nesterov=True), 0.1),
            525,
        ),
        (lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1), 0.1, gradient_momentum=0.5), 8),
        (lambda: ks.SparseMomentum(keras.optimizers.Lion(0.1, beta_2=0.9), 0.1), 50),
        (lambda: ks.SparseMomentum("adam", 0.1), 50),
        (lambda: ks.SparseMomentum(keras.optimizers.AdamW(beta_1=0.99), 0.1), 525),
        (lambda: ks.SparseMomentum("nadam", 0.1), 50),
        (lambda: ks.SparseMomentum("adamax", 0.1), 50),
        (lambda: ks.SparseMomentum("rmsprop", 0.1, gradient_momentum=0.9), math.inf),
        (
            lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0), 0.1),
            math.inf,
        ),
        (
            lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9, clipvalue=1.0), 0.1),
            50,
        ),
        (lambda: ks.RigL(sgd(), 0.1), 1),
        (lambda: ks.RigL("adam", 0.1), 1),
        (lambda: ks.SET("adam", 0.1), 0),
        (
            lambda: ks.SET(sgd(), 0.1, redistribute="mean_momentum"),
            0,
        ),  # of active weights, which always have gradients
        (lambda: ks.SET(sgd(), 0.1, redistribute=own_share), 50),
        (lambda: ks.SET(sgd(), 0.1, prune=ks.scores.momentum), 0),  # of active weights, too
        (lambda: ks.SET(sgd(), 0.1, prune=own_score), 50),
        (lambda: ks.SET("adam", 0.1, prune=lambda layer, rng: np.abs(layer.weight)), 0),
        (lambda: ks.GradualPruning(sgd(), 0.1, redistribute=own_share), 0),  # nothing regrows
        (lambda: ks.StaticSparsity("adam", 0.1), 0),
        (lambda: ks.GradualPruning("adam", 0.1), 0),
        (
            lambda: ks.StaticSparsity(keras.optimizers.Lamb(), 0.1),
            math.inf,
        ),  # norms of all gradients are in each weight's step
        (lambda: ks.SparseMomentum("adam", 0.1, growth_window=7), 7),
        (lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.001), 0.1), 1),
        (lambda: ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.01), 0.1), 2),
        (lambda: ks.StaticSparsity(sgd(), 0.1, growth_window=None), math.inf),
    ],
)
def test_steps_before_an_update(make, steps):
    optimizer = make()
    assert optimizer.growth_window_steps() == steps
    assert optimizer.grows_by_gradients() == (steps != 0)


@backend
@pytest.mark.parametrize("growth_window", ["auto", None, 1, 3])
def test_the_setting_comes_back(growth_window):
    optimizer = sparse(growth_window=growth_window)
    again = ks.SparseMomentum.from_config(optimizer.get_config())
    assert again.growth_window == optimizer.growth_window == growth_window


@backend
@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "always"])
def test_other_settings_are_errors(wrong):
    with pytest.raises(
        ValueError,
        match='`growth_window` must be "auto", None or a positive integer. '
        "Received: growth_window=",
    ):
        sparse(growth_window=wrong)


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        ("SGD Lion RMSprop Adam AdamW Nadam Adamax Adagrad Adadelta Ftrl", 0),
        ("Lamb Muon", math.inf),  # norms of all gradients are in each weight's step
    ],
)
def test_masks_that_stay_need_a_window_where_each_step_looks_at_all_gradients(names, steps):
    for name in names.split():
        optimizer = ks.StaticSparsity(getattr(keras.optimizers, name)(), 0.1)
        assert optimizer.growth_window_steps() == steps, name


def test_several_optimizers_need_the_longest_memory():
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("Keras has no MultiOptimizer yet")

    def several(one, other):
        parts = keras.optimizers.OptimizerMap(one, {".*head.*": other})
        return keras.optimizers.MultiOptimizer(parts)

    slow, fast = (keras.optimizers.SGD(0.1, momentum=momentum) for momentum in (0.9, 0.5))
    assert steps_of("auto", ["momentum"], several(fast, slow), None) == 50
    assert steps_of("auto", [], several(fast, slow), None) == 0
    second = ["momentum", "second moment"]
    assert steps_of("auto", second, several(fast, slow), None) == 50
    assert steps_of("auto", second, several(fast, keras.optimizers.Adam()), None) == math.inf
    # norms of all gradients are in the steps of one of them
    assert steps_of("auto", [], several(fast, keras.optimizers.Lamb()), None) == math.inf
