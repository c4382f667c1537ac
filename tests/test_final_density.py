"""The final density is reached, whatever the schedule, the executions and the data."""

import keras
import numpy as np
import pytest
from helpers import Recorder, assert_sparse, compiled, fit, sgd, sparse, toy_data, toy_model

import keras_sparse as ks
from keras_sparse.training.final_density import FinalDensity, final_density

tfmot = pytest.importorskip("tensorflow_model_optimization").sparsity.keras
schedules = keras.optimizers.schedules
backend = pytest.mark.backend
FINAL = 48  # active weights at density 0.25 of 192


class Linear(ks.schedules.OverTraining):
    def __call__(self, progress):
        return self.initial + (self.final - self.initial) * progress


# --- what a schedule asks for


def until_200(frequency):
    """tfmot's line from density 1 to 0.25 in 200 steps."""
    return tfmot.PolynomialDecay(0.0, 0.75, 0, 200, power=1, frequency=frequency)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (0.1, None),
        (ks.CubicOverTraining(0.1), FinalDensity(0.1, 75)),
        (ks.CubicOverTraining(1.0, end=0.5), FinalDensity(1.0, 0)),
        (ks.CubicOverTraining(0.1, end=1.0), FinalDensity(0.1, 99)),  # 0.1 + 0.9e-6 at 99
        (Linear(1.0, 0.25), FinalDensity(0.25, 100)),
        # sampled every 2 steps
        (
            schedules.PiecewiseConstantDecay([40, 200], [1.0, 0.5, 0.25]),
            FinalDensity(0.5, 42, 0.25),
        ),
        (
            schedules.PiecewiseConstantDecay([60, 200], [1.0, 0.5, 0.25]),
            FinalDensity(0.5, 62, 0.25),
        ),
        (schedules.ExponentialDecay(1.0, 100, 0.5), FinalDensity(0.5, 100)),  # it never ends
        (schedules.PolynomialDecay(1.0, 50, 0.5, power=1.0), FinalDensity(0.5, 50)),
        (lambda step: 0.5 if step < 10_000 else 0.2, FinalDensity(0.5, 0, 0.2)),
        # it knows of no later steps
        (lambda step: ([1.0] * 50 + [0.5] * 51)[int(step)], FinalDensity(0.5, 50)),
        (tfmot.PolynomialDecay(0.5, 0.75, 0, 100, frequency=30), FinalDensity(0.25, 100)),
        (until_200(frequency=40), FinalDensity(0.7, 80, 0.25)),
        # the last step prunes, too
        (until_200(frequency=33), FinalDensity(1 - 0.75 * 99 / 200, 99, 0.25)),
        # step 100 is not in the training
        (until_200(frequency=50), FinalDensity(1 - 0.75 * 50 / 200, 50, 0.25)),
        (tfmot.ConstantSparsity(0.75, begin_step=101), FinalDensity(1.0, 0, 0.25)),
        (tfmot.ConstantSparsity(0.75, begin_step=20), FinalDensity(0.25, 20)),
        (tfmot.ConstantSparsity(0.75, 20, end_step=200), FinalDensity(0.25, 20)),
    ],
)
def test_what_a_schedule_asks_for_in_100_steps(schedule, expected):
    found = final_density(
        schedule if isinstance(schedule, float) else ks.schedules.get(schedule, "density"), 0, 100
    )
    if expected is None:
        assert found is None
        return
    assert found.value == pytest.approx(expected.value, abs=1e-6)
    assert (found.reached_at, found.later) == (expected.reached_at, pytest.approx(expected.later))


def test_a_density_out_of_range_is_an_error_before_the_training(updates):
    with pytest.raises(ValueError, match="`density` must be in .*Received: density=0.0"):
        fit(
            compiled(ks.GradualPruning("sgd", schedules.PolynomialDecay(1.0, 12, 0.0))),
            ks.UpdateMasks(),
        )
    assert updates == []


# --- reached


@backend
@pytest.mark.parametrize(
    ("density", "every", "epochs", "changes"),
    [
        (0.25, "epoch", 2, [4, 6]),  # the cubic ends at 75 % of 8 steps
        (0.25, "auto", 1, [3]),
        (ks.CubicOverTraining(0.25, end=1.0), "epoch", 3, [4, 8, 11]),  # a step of training follows
        (0.25, 100, 3, [9]),
        (schedules.PolynomialDecay(1.0, 12, 0.25), "epoch", 3, [4, 8, 11]),
        (Linear(1.0, 0.25), "epoch", 3, [4, 8, 11]),
    ],
)
def test_the_density_asked_for_is_reached(density, every, epochs, changes):
    recorder = Recorder()
    model = compiled(ks.GradualPruning(sgd(), density))
    history = fit(model, ks.UpdateMasks(every), recorder, epochs=epochs)
    assert [step for _, step in recorder.changes()] == changes
    assert_sparse(model, count=FINAL)
    assert history.history["density"][-1] == 0.25  # what was measured is what is left


@pytest.mark.parametrize(
    ("end", "frequency", "changes"), [(12, 5, [5, 10, 11]), (11, 4, [4, 8, 11]), (10, 100, [10])]
)
def test_a_tfmot_schedule_ends_where_its_frequency_skips_the_end(end, frequency, changes):
    recorder = Recorder()
    model = compiled(
        ks.GradualPruning(sgd(), tfmot.PolynomialDecay(0.0, 0.75, 0, end, frequency=frequency))
    )
    fit(model, ks.UpdateMasks(), recorder)
    assert [step for _, step in recorder.changes()] == changes
    assert_sparse(model, count=FINAL)


@pytest.mark.parametrize("every", ["epoch", 6])  # step 6 is within the last execution
def test_executions_of_several_steps_reach_it_too(every):
    model = compiled(ks.GradualPruning(sgd(), 0.25), steps_per_execution=4)
    fit(model, ks.UpdateMasks(every), epochs=2)
    assert_sparse(model, count=FINAL)


def test_steps_that_loss_scaling_skips_do_not_put_it_off(policy):
    policy("mixed_float16")
    outer = keras.optimizers.LossScaleOptimizer(
        ks.GradualPruning(sgd(), 0.25), initial_scale=2.0**20
    )  # too large at first
    model = compiled(outer)
    fit(model, ks.UpdateMasks("epoch"), epochs=1)
    assert outer.inner_optimizer.step() < 3  # where the cubic ends
    assert_sparse(model, count=FINAL)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_of_unknown_length_reach_it_too():
    import tensorflow as tf

    model, recorder = compiled(ks.GradualPruning(sgd(), 0.25)), Recorder()
    data = tf.data.Dataset.from_tensor_slices(toy_data()).batch(8).filter(lambda x, y: True)
    model.fit(data, epochs=2, verbose=0, shuffle=False, callbacks=[ks.UpdateMasks(), recorder])
    assert recorder.changes() == [
        ("epoch begin", 5),
        ("batch begin", 8),
    ]  # of ten steps, one too many an epoch
    assert_sparse(model, count=FINAL)


@backend
def test_a_falling_density_with_growth_ends_by_pruning_alone():
    model = compiled(
        ks.SparseMomentum(sgd(), ks.CubicOverTraining(0.25, 0.5, end=1.0), growth_window=1),
        ks.sparsify(toy_model()),
    )
    recorder = Recorder()
    fit(model, ks.UpdateMasks("epoch"), recorder, epochs=2)
    before, after = (
        next(masks for where, _, step, masks, _ in recorder.seen if (where, step) == at)
        for at in (("batch end", 7), ("batch begin", 7))
    )
    assert not (after & ~before).any()
    assert_sparse(model, count=FINAL)


@backend
def test_several_fits_are_one_training_where_its_length_was_announced():
    model = compiled(ks.GradualPruning(sgd(), 0.25))
    model.optimizer.build(model)
    model.optimizer.start_training(12)
    density = [
        fit(model, ks.UpdateMasks("epoch"), epochs=1).history["density"][0] for _ in range(3)
    ]
    np.testing.assert_allclose(density, [1.0, 0.25 + 0.75 * (5 / 9) ** 3, 0.25], atol=1 / 192)
    assert (
        model.optimizer.counter("training_start"),
        model.optimizer.counter("training_stop"),
    ) == (0, 12)


# --- by hand


@backend
def test_pruning_to_a_density_keeps_the_largest_and_grows_nothing():
    model = compiled(sparse(density=0.5))
    model.optimizer.build(model)
    before = model.optimizer.masks
    model.optimizer.prune_to_density(0.25)
    assert_sparse(model, count=FINAL)
    for path, mask in model.optimizer.masks.items():
        assert not (mask & ~before[path]).any()
    model.optimizer.prune_to_density(0.9)  # it has fewer already
    assert_sparse(model, count=FINAL)
    with pytest.raises(ValueError, match="Received: density=0"):
        model.optimizer.prune_to_density(0)
    with pytest.raises(ValueError, match="`prune=None` means masks that never change"):
        compiled(ks.StaticSparsity(sgd(), 0.5)).optimizer.prune_to_density(0.25)


def test_a_schedule_is_looked_at_a_thousand_times():
    found = final_density(ks.CubicOverTraining(0.1, end=0.5), 1_000, 101_000)
    assert found == FinalDensity(0.1, 1_000 + 49_500)  # 0.9e-6 is left at 0.495


@pytest.mark.parametrize(("stop", "step"), [(1, 1), (2, 2), (3, 3), (50, 50), (51, 51), (52, 52)])
def test_a_short_training_is_looked_at_in_each_step(stop, step):
    falls_last = ks.schedules.get(lambda now: 1.0 if now < stop else 0.5, "density")
    assert final_density(falls_last, 0, stop) == FinalDensity(0.5, step)


def test_a_schedule_between_two_looks_counts_as_over_at_the_second():
    falls_at_4 = ks.schedules.get(lambda now: 1.0 if now < 4 else 0.5, "density")
    assert final_density(falls_at_4, 0, 75) == FinalDensity(0.5, 5)  # looks at 0, 2, 3, 5, ...


def test_what_follows_a_training_is_looked_at_a_thousand_and_a_million_trainings_later():
    steps = []
    final_density(ks.schedules.get(lambda now: steps.append(now) or 0.5, "density"), 0, 100)
    assert steps[-2:] == [100_000, 100_000_000]
