"""Updates are due at the right steps, and windows open as many steps before; by hand."""

import math

import pytest

from keras_sparse.rules.update_times import (
    AtEpochs,
    AtSteps,
    EverySteps,
    Plan,
    Planner,
    last_pruning,
    period_of_short_training,
)


@pytest.mark.parametrize(
    ("step", "last", "following"), [(0, 0, 10), (9, 0, 10), (10, 10, 20), (25, 20, 30)]
)
def test_every_steps(step, last, following):
    assert EverySteps(10).last_due(step) == last
    assert EverySteps(10).next_due(step) == following


@pytest.mark.parametrize(
    ("step", "last", "following"),
    [(-1, -1, 0), (0, 0, 20), (19, 0, 20), (20, 20, 40), (40, 40, math.inf)],
)
def test_at_steps(step, last, following):
    assert AtSteps([40, 0, 20]).last_due(step) == last
    assert AtSteps([40, 0, 20]).next_due(step) == following


def test_every_steps_from_a_start():
    assert EverySteps(10, start=3).last_due(12) == 3
    assert EverySteps(10, start=3).next_due(13) == 23


def test_a_multiple_jumped_over_is_due_once():
    """Seven steps per execution: 10 is passed at 14 and due then, 20 at 21."""
    last, updated = 0, []
    for now in range(0, 43, 7):
        if EverySteps(10).last_due(now) > last:
            last = now
            updated.append(now)
    assert updated == [14, 21, 35, 42]


def test_epochs_end_after_their_steps():
    assert AtEpochs(100, 50).last_due(120) == 100
    assert AtEpochs(100, 50).next_due(120) == 150
    assert AtEpochs(100, 50).next_due(160) == 160  # longer than announced
    assert AtEpochs(100, None).next_due(120) == 120  # unknown: at any moment
    assert (
        AtEpochs(100, 50, begun_before=True).last_due(120) == -1
    )  # its update was made before the interruption


# --- the planner


def test_an_update_is_due_once():
    planner = Planner(EverySteps(10))
    assert planner.at(10, last_update=0, window_opened=0) == Plan(True, False, True, 10)
    assert planner.at(10, last_update=10, window_opened=0) == Plan(False, False, True, 10)


@pytest.mark.parametrize(
    ("window", "execution", "now", "expected"),
    [
        (3, 1, 5, (False, 2)),  # closed, look again in 2
        (3, 1, 7, (True, 3)),
        (
            3,
            2,
            5,
            (False, 1),
        ),  # an execution of two steps: the one that begins at 6 ends inside of the window
        (3, 2, 6, (True, 4)),
        (0, 1, 5, (False, 5)),
        (math.inf, 1, 5, (True, 5)),
        (20, 1, 1, (True, 9)),
        (1, 1, 5, (False, 4)),
        (1, 1, 9, (True, 1)),
        (0, 2, 5, (False, 5)),
    ],
)
def test_the_window_opens_before_an_update(window, execution, now, expected):
    plan = Planner(EverySteps(10), window, execution=execution).at(
        now, last_update=0, window_opened=-1
    )
    assert (plan.window_open, plan.look_again) == expected


def test_an_update_waits_for_a_window_that_was_closed_when_it_was_due():
    planner = Planner(AtEpochs(40, 20), window=5)
    assert planner.at(40, last_update=20, window_opened=-1) == Plan(False, False, True, 5)
    assert planner.at(43, last_update=20, window_opened=40) == Plan(False, False, True, 2)
    assert planner.at(45, last_update=20, window_opened=40).update


def test_an_update_waits_no_longer_than_until_the_next_one_is_due():
    planner = Planner(EverySteps(10), window=100)
    assert planner.at(12, last_update=0, window_opened=-1) == Plan(False, False, True, 8)
    assert planner.at(20, last_update=0, window_opened=12).update


def test_a_window_open_since_the_first_step_is_waited_for():
    planner = Planner(EverySteps(10), window=3)
    assert planner.at(1, last_update=-1, window_opened=0) == Plan(False, False, True, 2)
    assert planner.at(3, last_update=-1, window_opened=0).update


def test_a_window_that_opened_when_the_update_was_due_is_too_short():
    planner = Planner(EverySteps(10), window=3)
    assert not planner.at(10, last_update=0, window_opened=10).update
    assert planner.at(10, last_update=0, window_opened=9).update


def test_without_a_window_none_is_opened():
    planner = Planner(EverySteps(10), window=0)
    assert not planner.at(12, last_update=0, window_opened=-1).window_open


def test_a_last_pruning_that_is_due_is_not_looked_for_again():
    planner = Planner(EverySteps(100), last_pruning=10)
    assert planner.at(10, last_update=0, window_opened=0) == Plan(False, True, True, 90)
    soon = Planner(EverySteps(100), last_pruning=10, execution=4)
    assert soon.at(2, last_update=0, window_opened=0) == Plan(False, False, True, 5)


def test_a_last_pruning_needs_no_window():
    planner = Planner(EverySteps(60), window=5, last_pruning=75)
    assert planner.at(65, last_update=60, window_opened=-1) == Plan(False, False, False, 10)
    assert planner.at(75, last_update=60, window_opened=-1).prune


def test_a_last_pruning_is_made_before_the_last_execution():
    planner = Planner(AtEpochs(0, 100), last_pruning=75, execution=50)
    assert not planner.at(50, last_update=0, window_opened=0).prune
    assert planner.at(50, last_update=0, window_opened=0, is_end=True).prune
    assert not Planner(AtEpochs(0, 100)).at(50, last_update=0, window_opened=0, is_end=True).prune


@pytest.mark.parametrize(
    ("reached_at", "last_due", "known", "expected"),
    [
        (75, 50, True, 75),
        (75, 75, True, math.inf),  # a regular update does it
        (100, 50, True, 95),  # one twentieth of the training follows
        (100, 50, False, 94),  # Keras counts one step too many
        (99, 50, True, 95),
        (10, 5, True, 10),
        (0, -1, True, 0),
    ],
)
def test_step_of_the_last_pruning(reached_at, last_due, known, expected):
    assert last_pruning(reached_at, last_due, 0, 100, known) == expected


def test_a_training_of_one_step_is_pruned_before_it():
    assert last_pruning(1, -1, 0, 1, length_is_known=True) == 0


@pytest.mark.parametrize(
    ("steps", "epochs", "period"),
    [
        (100, 1, 10),
        (120, 2, 12),
        (1000, 9, 100),
        (1000, 10, None),
        (12, 3, None),
        (20, 1, 5),
        (8, 1, 5),
        (5, 1, None),
        (4, 0, None),  # less than half an epoch
    ],
)
def test_short_trainings_update_nine_times(steps, epochs, period):
    assert period_of_short_training(steps, epochs) == period
