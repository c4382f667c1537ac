"""SparseMomentum with a density that moves: gradual pruning, tfmot schedules."""

import itertools

import keras
import numpy as np
import pytest
from helpers import STEPS, arrays, assert_sparse, compiled, fit, sgd

import keras_sparse as ks

tfmot = pytest.importorskip("tensorflow_model_optimization").sparsity.keras
backend = pytest.mark.backend
schedules = keras.optimizers.schedules


# --- density that moves


def densities(optimizer, every=None, epochs=4):
    """Density at every end of an epoch, and the masks there."""
    model, seen = compiled(optimizer), []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            (optimizer.total_density(), arrays(optimizer.mask_variables))
        )
    )
    fit(model, ks.UpdateMasks(every), note, epochs=epochs)
    return [density for density, _ in seen], [masks for _, masks in seen]


def test_gradual_pruning_falls_from_dense_and_nothing_grows_back():
    density, masks = densities(ks.GradualPruning("adam", 0.25), every=1)
    wanted = [
        0.25 + 0.75 * max(1 - step / 12, 0) ** 3 for step in range(16)
    ]  # the cubic ends at 75 % of 16 steps
    np.testing.assert_allclose(density, wanted, atol=1 / 192)
    for before, after in itertools.pairwise(masks):
        assert not any((new & ~old).any() for old, new in zip(before, after, strict=True))


def test_a_falling_density_with_growth():
    density, masks = densities(
        ks.SparseMomentum(sgd(), ks.CubicOverTraining(0.25, 0.75, end=1.0), prune_rate=0.3), every=2
    )
    np.testing.assert_allclose(
        density[::2], [0.25 + 0.5 * (1 - step / 16) ** 3 for step in range(0, 16, 2)], atol=1 / 192
    )
    assert any((new & ~old).any() for old, new in zip(masks[2], masks[4], strict=True))


def test_a_density_schedule_of_keras():
    density, _ = densities(ks.GradualPruning("sgd", schedules.PolynomialDecay(1.0, 12, 0.25)))
    np.testing.assert_allclose(density[::STEPS], [1.0, 0.75, 0.5, 0.25], atol=1 / 192)


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (
            tfmot.PolynomialDecay(
                initial_sparsity=0.5, final_sparsity=0.9, begin_step=2, end_step=10, frequency=4
            ),
            [2, 6, 10],
        ),
        (
            tfmot.PolynomialDecay(
                initial_sparsity=0.2, final_sparsity=0.8, begin_step=0, end_step=9, frequency=3
            ),
            [3, 6, 9],
        ),
        (tfmot.ConstantSparsity(0.8, begin_step=5, frequency=100), [5]),
    ],
)
def test_tfmot_schedules_as_they_are(updates, schedule, steps):
    density, _ = densities(ks.GradualPruning("adam", schedule))
    assert updates == steps
    wanted = [
        1.0 - float(schedule(max([s for s in [0, *steps] if s <= step]))[1])
        if step >= schedule.begin_step
        else 1.0
        for step in range(16)
    ]
    np.testing.assert_allclose(density, wanted, atol=1 / 192)


def test_a_tfmot_schedule_that_is_over_at_step_0_needs_no_update():
    """Its density is that of the first masks: no warning that nothing will be updated."""
    model = compiled(
        ks.GradualPruning(sgd(), tfmot.ConstantSparsity(0.75, begin_step=0, frequency=100))
    )
    assert fit(model, ks.UpdateMasks()).history["density"] == [0.25, 0.25, 0.25]


def test_a_tfmot_schedule_through_the_callback_alone(updates):
    model = compiled(keras.optimizers.Adam())
    fit(
        model,
        ks.UpdateMasks(
            density=tfmot.ConstantSparsity(0.75, begin_step=3),
            grow=None,
            redistribute=None,
            initial_masks="magnitude",
        ),
    )
    assert updates == [3]
    assert_sparse(model, count=48)


def test_a_density_may_not_leave_its_range():
    with pytest.raises(ValueError, match="`density` must be in .*Received: density=0.0"):
        densities(ks.GradualPruning("sgd", schedules.PolynomialDecay(1.0, 4, 0.0)))
