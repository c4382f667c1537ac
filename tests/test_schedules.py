"""Schedules of prune rate and density."""

import keras
import numpy as np
import pytest

from keras_sparse.training import schedules
from keras_sparse.training.schedules import (
    CosineOverTraining,
    CubicOverTraining,
    TfmotDensity,
    value_at,
)

tfmot = pytest.importorskip("tensorflow_model_optimization").sparsity.keras


def test_cosine_by_hand():
    cosine = CosineOverTraining()
    np.testing.assert_allclose([cosine(0.0), cosine(0.5), cosine(1.0)], [0.5, 0.2525, 0.005])


def test_cosine_is_that_of_keras():
    own = [value_at(CosineOverTraining(), step, 0, 100, "prune_rate") for step in range(101)]
    theirs = keras.optimizers.schedules.CosineDecay(0.5, 100, alpha=0.01)
    np.testing.assert_allclose(
        own, [value_at(theirs, step, 0, 100, "prune_rate") for step in range(101)], atol=1e-6
    )


def test_cubic_by_hand():
    cubic = CubicOverTraining(0.1, begin=0.2, end=0.7)
    np.testing.assert_allclose(
        [cubic(0.0), cubic(0.2), cubic(0.45), cubic(0.7), cubic(1.0)],
        [1.0, 1.0, 0.1 + 0.9 / 8, 0.1, 0.1],
    )


def test_a_training_without_a_step_is_at_its_beginning_and_then_at_its_end():
    cosine = CosineOverTraining(0.5, 0.1)
    assert [value_at(cosine, step, 5, 5, "prune_rate") for step in (5, 6)] == [0.5, 0.1]
    assert value_at(cosine, 0, 0, 0, "prune_rate") == 0.5


def test_before_a_training_the_value_is_that_of_its_beginning_and_one_step_is_all_of_it():
    cosine = CosineOverTraining(0.5, 0.1)
    assert value_at(cosine, 3, 5, 10, "prune_rate") == 0.5
    assert [value_at(cosine, step, 7, 8, "prune_rate") for step in (7, 8)] == [0.5, 0.1]


def test_a_second_training_starts_over():
    assert value_at(CosineOverTraining(), 100, 100, 200, "prune_rate") == 0.5
    assert value_at(CosineOverTraining(), 250, 100, 200, "prune_rate") == pytest.approx(0.005)


def test_unknown_length_says_what_to_do():
    with pytest.raises(
        ValueError,
        match="`prune_rate` follows the training.*steps_per_epoch.*start_training.*CosineDecay",
    ):
        value_at(CosineOverTraining(), 5, 0, -1, "prune_rate")


@pytest.mark.parametrize("value", [-0.1, 1.1, "cosine", None, True])
def test_what_is_no_schedule_raises(value):
    with pytest.raises(
        ValueError, match="`prune_rate` must be a number in .* or a schedule. Received: prune_rate="
    ):
        schedules.get(value, "prune_rate")


@pytest.mark.parametrize(
    "arguments",
    [
        {"final": 1.5},
        {"final": -0.1},
        {"final": 0.1, "begin": 0.8, "end": 0.5},
        {"final": 0.1, "begin": 0.5, "end": 0.5},
        {"final": 0.1, "begin": -0.1},
        {"final": 0.1, "end": 1.5},
    ],
)
def test_cubic_rejects_what_cannot_be(arguments):
    with pytest.raises(ValueError, match="Received: "):
        CubicOverTraining(**arguments)


def polynomial():
    return tfmot.PolynomialDecay(
        initial_sparsity=0.5, final_sparsity=0.9, begin_step=10, end_step=50, frequency=20
    )


def test_tfmot_density_is_one_minus_sparsity():
    density = schedules.get(polynomial(), "density")
    assert isinstance(density, TfmotDensity)
    # 0.9 - 0.4 * (1 - t)^3 at t = 0, 1/2, 1
    np.testing.assert_allclose(
        [density(9), density(10), density(30), density(50), density(99)],
        [1.0, 0.5, 0.15, 0.1, 0.1],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("step", "last", "following"),
    [(0, -1, 10), (10, 10, 30), (29, 10, 30), (30, 30, 50), (50, 50, np.inf), (80, 50, np.inf)],
)
def test_tfmot_says_when(step, last, following):
    density = TfmotDensity(polynomial())
    assert density.last_due(step) == last
    assert density.next_due(step) == following


def test_tfmot_without_an_end_goes_on():
    density = TfmotDensity(tfmot.ConstantSparsity(0.8, begin_step=0, frequency=10))
    assert density.next_due(1000) == 1010
    assert density(1000) == pytest.approx(0.2)


def test_tfmot_may_end_with_step_0():
    density = TfmotDensity(tfmot.ConstantSparsity(0.8, begin_step=0, end_step=0, frequency=10))
    assert (density.last_due(5), density.next_due(0)) == (0, np.inf)


@pytest.mark.parametrize(
    ("end", "frequency", "last", "following"),
    [
        (11, 4, [2, 2, 6, 6, 10, 11, 11], [6, 6, 10, 10, 11, np.inf, np.inf]),
        (10, 4, [2, 2, 6, 6, 10, 10, 10], [6, 6, 10, 10, np.inf, np.inf, np.inf]),
    ],
)
def test_tfmot_ends_where_its_frequency_skips_the_end(end, frequency, last, following):
    density = TfmotDensity(tfmot.PolynomialDecay(0.5, 0.9, 2, end, frequency=frequency))
    steps = (2, 5, 6, 9, 10, 11, 12)
    assert [density.last_due(step) for step in steps] == last
    assert [density.next_due(step) for step in steps] == following


def test_a_skipped_end_at_the_same_density_is_none():
    constant = tfmot.ConstantSparsity(0.8, begin_step=2, end_step=11, frequency=4)
    density = TfmotDensity(constant)
    assert [density.last_due(step) for step in (10, 11, 12)] == [10, 10, 10]
    assert density.next_due(10) == np.inf


def test_six_digits_of_a_sparsity_count():
    density = TfmotDensity(tfmot.ConstantSparsity(0.123456, begin_step=0))
    assert density(0) == pytest.approx(0.876544, abs=1e-12)


@pytest.mark.parametrize(
    "schedule",
    [
        CosineOverTraining(0.3, 0.1),
        CubicOverTraining(0.1, 0.9, 0.1, 0.6),
        TfmotDensity(polynomial()),
    ],
)
def test_schedules_survive_serialization(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(config)
    points = [0.0, 0.3, 1.0] if not isinstance(schedule, TfmotDensity) else [5, 25, 60]
    np.testing.assert_array_equal(
        [again(point) for point in points], [schedule(point) for point in points]
    )


@pytest.mark.parametrize("value", [0, 0.5, 1, np.float32(1.0)])
def test_numbers_from_0_to_1_are_schedules(value):
    found = schedules.get(value, "prune_rate")
    assert isinstance(found, float)
    assert found == value


class FromAboveOne(schedules.OverTraining):
    def __call__(self, progress):
        return 1.5 - progress


@pytest.mark.parametrize(
    ("density", "values"),
    [
        (CosineOverTraining(0.1, 0.5), "from 0.1 to 0.5"),
        (FromAboveOne(1.0, 0.5), "from 1.5 to 0.5"),
    ],
)
def test_a_density_that_rises_or_begins_above_1_is_an_error(density, values):
    with pytest.raises(ValueError, match=f"no larger at the end of the training.*{values}"):
        schedules.check_as_density(density)


def test_a_sparsity_is_rounded_to_six_digits():
    density = TfmotDensity(tfmot.ConstantSparsity(0.1234567, begin_step=0))
    assert density(0) == pytest.approx(0.876543, abs=1e-9)
