"""Arguments of SparseMomentum: what cannot work fails at once; the prune rate follows the plan."""

import keras
import numpy as np
import pytest
from helpers import compiled, fit, sgd

import keras_sparse as ks
from keras_sparse.training import mask_updates, rule_checks

schedules = keras.optimizers.schedules


@pytest.mark.parametrize("density", [0, 0.0, -0.1, 1.1, True, "0.1", None])
def test_density_must_be_a_fraction(density):
    with pytest.raises(ValueError, match="`density` must be in .*Received: density="):
        ks.SparseMomentum(sgd(), density)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prune_rate": 1.5}, "`prune_rate` must be a number in .*Received: prune_rate=1.5"),
        ({"distribution": "even"}, "`distribution` must be one of.*Received: distribution='even'"),
        ({"distribution": {"head": 2.0}}, "`distribution.'head'.` must be in"),
        ({"prune": "smallest"}, "`prune` must be one of .*Received: prune='smallest'"),
        ({"grow": "largest"}, "`grow` must be one of .*Received: grow='largest'"),
        (
            {"redistribute": "evenly"},
            "`redistribute` must be one of .*Received: redistribute='evenly'",
        ),
        (
            {"gradient_momentum": 1.0},
            "`gradient_momentum` must be in .*Received: gradient_momentum=1.0",
        ),
        (
            {"growth_window": 0},
            '`growth_window` must be "auto", None or a positive integer. Received: growth_window=0',
        ),
        ({"prune": None}, "`prune=None` means masks that never change"),
        ({"grow": None}, "With `grow=None` and a constant density no mask would change"),
        (
            {"grow": "gradient", "gradient_momentum": 0.9},
            "one or the other can be kept. Received: gradient_momentum=0.9",
        ),
    ],
)
def test_what_cannot_work_fails_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        ks.SparseMomentum(sgd(), 0.5, **arguments)


@pytest.mark.parametrize("steps", [0, -5, 1.5, True])
def test_a_training_has_steps(steps):
    model = compiled()
    model.optimizer.build(model)
    with pytest.raises(ValueError, match="`steps` must be a positive integer"):
        model.optimizer.start_training(steps)


def test_an_optimizer_by_name():
    assert isinstance(ks.SparseMomentum("adam", 0.5).inner_optimizer, keras.optimizers.Adam)


@pytest.mark.parametrize(
    ("prune_rate", "expected"),
    [
        (0.3, [0.3, 0.3]),
        (
            schedules.CosineDecay(0.5, 12),
            [0.375, 0.125],
        ),  # 0.5 * (1 + cos(pi / 3)) / 2 at step 4 of 12
        (lambda step: 1 / (step + 1), [0.2, 1 / 9]),
        (ks.CosineOverTraining(0.5, 0.0), [0.375, 0.125]),
        (None, [0.005 + 0.495 * 0.75, 0.005 + 0.495 * 0.25]),
    ],
)
def test_prune_rate(monkeypatch, prune_rate, expected):
    rates, update = [], mask_updates.update_masks
    monkeypatch.setattr(
        mask_updates,
        "update_masks",
        lambda layers, rate, *rest: [rates.append(rate), update(layers, rate, *rest)][1],
    )
    fit(compiled(ks.SparseMomentum(sgd(), 0.25, prune_rate=prune_rate)), ks.UpdateMasks())
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def adafactor(**settings):
    inner = keras.optimizers.Adafactor(0.01, **settings)
    return ks.SparseMomentum(inner, 0.25, gradient_momentum=0.9, seed=0)


def test_adafactor_warns_of_an_epsilon_whose_square_is_0():
    with pytest.warns(UserWarning, match="Pass Adafactor.*Received: epsilon_1=1e-30"):
        adafactor()


def test_adafactor_steps_where_an_input_and_a_unit_have_no_gradient():
    model = compiled(adafactor(epsilon_1=1e-16))
    model.optimizer.build(model)
    head = model.get_layer("head")
    model.optimizer.set_masks({"toy/head/kernel": np.eye(16, 4, dtype=bool)})
    x, y = np.ones((4, 8), "float32"), model.predict(np.ones((4, 8)), verbose=0)
    x[:, 0], y[:, 1:] = 0.0, y[:, 1:] + 1
    model.train_on_batch(x, y)
    for weights in model.get_weights():
        assert np.isfinite(weights).all()
    assert (head.kernel.numpy() != 0).sum() == 4


@pytest.mark.skipif(
    not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras has no MultiOptimizer yet"
)
def test_adafactor_warns_as_one_of_several_optimizers_too():
    parts = {".*b.*": keras.optimizers.Adafactor(0.01)}
    inner = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(sgd(), parts))
    with pytest.warns(UserWarning, match="Pass Adafactor"):
        rule_checks.warn_of_zero_steps(inner)


def test_a_share_by_momentum_needs_one_where_something_regrows():
    with pytest.raises(ValueError, match="need a momentum and this optimizer keeps none"):
        ks.SET("sgd", 0.1, redistribute="mean_momentum")
    assert ks.GradualPruning("sgd", 0.1, redistribute="mean_momentum").grow is None
