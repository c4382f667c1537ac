"""An epoch is planned by ``every``, the density schedule, and what is known of the fit."""

import math

import pytest

from keras_sparse.rules.update_times import AtEpochs, AtSteps, EverySteps
from keras_sparse.training import epoch_plan
from keras_sparse.training.epoch_plan import (
    Epoch,
    FitLength,
    check_every,
    never_updates,
    plan_epoch,
)
from keras_sparse.training.phases import AlternatingOverTraining
from keras_sparse.training.schedules import CubicOverTraining

TEN_EPOCHS = FitLength(epochs=10, batches=10)
FIRST = Epoch(number=0, now=0, start=0, stop=100)


def plan(every="epoch", density=0.1, window=0, fit=TEN_EPOCHS, epoch=FIRST):
    return plan_epoch(every, density, window, fit, epoch)


def test_a_fit_ends_after_the_steps_of_its_epochs():
    fit = FitLength(epochs=3, batches=10, accumulation=2)
    assert fit.steps_per_epoch == 5
    assert [fit.stop(0, 0), fit.stop(2, 10)] == [15, 15]


@pytest.mark.parametrize("unknown", [{"batches": None}, {"steps_per_batch": None}])
def test_the_end_of_a_fit_may_not_be_known(unknown):
    fit = FitLength(**{"epochs": 3, "batches": 10, **unknown})
    assert fit.steps_per_epoch is None
    assert fit.stop(0, 0) is None
    assert plan(fit=fit).ends_after is None


@pytest.mark.parametrize(("steps_per_batch", "steps"), [(1, 3), (2, 6), (None, 3)])
def test_an_execution_makes_the_steps_of_its_batches_and_at_least_one_each(steps_per_batch, steps):
    assert FitLength(execution=3, steps_per_batch=steps_per_batch).steps_per_execution == steps


def test_updates_are_due_at_epochs_at_steps_or_at_phases():
    assert isinstance(plan("epoch").planner.times, AtEpochs)
    every = plan(7).planner.times
    assert isinstance(every, EverySteps)
    assert (every.period, every.start) == (7, 0)
    phases = plan("auto", AlternatingOverTraining(0.1, borders=(0.2, 0.4, 0.6))).planner.times
    assert isinstance(phases, AtSteps)
    assert phases.steps == [0, 20, 40, 60]


@pytest.mark.parametrize(
    ("number", "now", "ends_after"), [(1, 15, None), (2, 15, 10), (2, 9, None)]
)
def test_only_the_last_epoch_ends_a_training(number, now, ends_after):
    three_epochs = FitLength(epochs=3, batches=10)
    assert plan(fit=three_epochs, epoch=Epoch(number, now, 0, 30)).ends_after == ends_after


def test_phases_need_a_known_length_and_one_step_is_one():
    phases, one_step = AlternatingOverTraining(0.1, borders=(0.5,)), FitLength(epochs=1, batches=1)
    assert plan("auto", phases, fit=one_step, epoch=Epoch(0, 7, 7, 8)).planner.times.steps == [7, 8]
    unknown = plan("auto", phases, fit=FitLength(epochs=2), epoch=Epoch(0, 7, 7, -1))
    assert isinstance(unknown.planner.times, AtEpochs)


def test_short_first_trainings_update_more_often_than_before_each_epoch():
    fit = FitLength(epochs=2, batches=50)
    assert plan("auto", fit=fit).planner.times.period == 10
    later = Epoch(number=0, now=100, start=100, stop=200)
    assert isinstance(plan("auto", fit=fit, epoch=later).planner.times, AtEpochs)


def test_an_interrupted_epoch_makes_no_second_update():
    resumed = Epoch(number=1, now=13, start=0, stop=100, begun_before=True)
    planner = plan(epoch=resumed).planner
    assert not planner.at(13, last_update=10, window_opened=0).update


def test_the_last_epoch_ends_with_its_batches():
    assert plan().ends_after is None
    assert plan(epoch=Epoch(number=9, now=90, start=0, stop=100)).ends_after == 10


def test_a_schedule_that_ends_after_the_last_update_is_brought_to_its_end():
    late = plan(density=CubicOverTraining(0.1, end=1.0))
    assert late.final.value == 0.1
    assert late.planner.last_pruning == 95
    assert plan(density=0.1).final is None
    assert plan(density=0.1).planner.last_pruning == math.inf


def test_a_training_that_ends_before_an_update_is_due_never_updates():
    one_epoch = FitLength(epochs=1, batches=10)
    short = Epoch(number=0, now=0, start=0, stop=10)
    assert never_updates(EverySteps(10), 0, one_epoch, short)
    assert not never_updates(EverySteps(9), 0, one_epoch, short)
    assert never_updates(AtEpochs(0, 10), 0, one_epoch, short)
    assert not never_updates(AtEpochs(0, 10), 0, FitLength(epochs=2, batches=10), short)
    assert not never_updates(EverySteps(10), 0, one_epoch, Epoch(0, now=0, start=0, stop=-1))


def test_an_update_of_the_last_epoch_is_due_if_none_was_made_in_it():
    last = Epoch(number=4, now=40, start=0, stop=50)
    five = FitLength(epochs=5, batches=10)
    assert not never_updates(AtEpochs(40, 10), 39, five, last)
    assert never_updates(AtEpochs(40, 10), 40, five, last)


def test_an_epoch_is_of_one_step_at_least():
    assert FitLength(batches=3, accumulation=8).steps_per_epoch == 1
    assert FitLength(epochs=1, batches=10).stop(epoch=3, now=7) == 8


@pytest.mark.parametrize(("now", "ends_after"), [(79, None), (80, None), (81, 10), (90, 10)])
def test_less_than_two_epochs_before_the_end_the_last_one_ends_the_training(now, ends_after):
    assert plan(epoch=Epoch(number=9, now=now, start=0, stop=100)).ends_after == ends_after


@pytest.mark.parametrize(
    ("epochs", "batches", "execution", "every", "pruning"),
    [
        (10, 10, 1, "epoch", 95),  # the last update at 90 is before the schedule ends, at 100
        (10, None, 1, "epoch", 94),  # one may be one too many
        (10, 10, 1, 99, 99),
        (10, 10, 2, 99, 95),  # the step 99 is within the last execution, of 98 and 99
    ],
)
def test_the_last_pruning_comes_where_no_update_does(epochs, batches, execution, every, pruning):
    fit = FitLength(epochs=epochs, batches=batches, execution=execution)
    density = CubicOverTraining(0.1, end=0.99 if every == 99 else 1.0)
    planner = plan(every, density, fit=fit).planner
    assert planner.last_pruning == (math.inf if pruning == 99 else pruning)


def test_a_fit_of_which_nothing_is_said_has_one_epoch_that_was_not_begun_before():
    assert FitLength(batches=10).stop(0, 0) == 10
    assert plan("epoch").planner.times.begun_before is False


def test_a_training_of_one_step_ends_before_an_update():
    one_step = Epoch(number=0, now=0, start=0, stop=1)
    assert never_updates(EverySteps(5), 0, FitLength(batches=1), one_step)


@pytest.mark.parametrize("start", [0, 5])
def test_a_training_without_a_step_has_neither_a_final_density_nor_phases(start):
    no_step = Epoch(number=0, now=start, start=start, stop=start)
    assert plan(density=CubicOverTraining(0.1), epoch=no_step).final is None
    for density in (0.1, AlternatingOverTraining(0.1, borders=(0.5,))):
        assert isinstance(plan("auto", density, epoch=no_step).planner.times, AtEpochs)


def test_steps_of_an_epoch_are_whole():
    assert FitLength(batches=5, accumulation=2).steps_per_epoch == 2


@pytest.mark.parametrize(
    ("epochs", "steps", "last"), [(30, None, 97), (100, None, 99), (200, None, 99), (30, 7, 93)]
)
def test_the_last_epoch_of_unknown_length_has_its_share_of_the_steps_and_one_at_least(
    epochs, steps, last
):
    fit = FitLength(epochs=epochs)
    assert epoch_plan._last_due(AtEpochs(0, steps), fit, FIRST) == last


@pytest.mark.parametrize(
    ("given", "every"), [(None, "auto"), ("auto", "auto"), ("epoch", "epoch"), (3, 3)]
)
def test_updates_are_asked_for_by_a_word_a_number_of_steps_or_nothing(given, every):
    assert check_every(given) == every
