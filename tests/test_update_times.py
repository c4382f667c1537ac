"""When updates are due."""

import math

import pytest

from keras_sparse.update_times import AtEpochs, EverySteps


@pytest.mark.parametrize(("step", "last", "following"), [(0, 0, 10), (9, 0, 10), (10, 10, 20), (25, 20, 30)])
def test_every_steps(step, last, following):
    assert EverySteps(10).last_due(step) == last
    assert EverySteps(10).next_due(step) == following


def test_a_multiple_jumped_over_is_due_once():
    """Seven steps per execution: 10 is passed at 14 and due then, 20 at 21."""
    last, updated = 0, []
    for now in range(0, 43, 7):
        if EverySteps(10).last_due(now) > last:
            last = now
            updated.append(now)
    assert updated == [14, 21, 35, 42]


def test_epochs_end_after_their_steps():
    assert AtEpochs(100, 50, is_last=False).next_due(120) == 150
    assert AtEpochs(100, 50, is_last=False).next_due(160) == 160  # longer than announced
    assert AtEpochs(100, None, is_last=False).next_due(120) == 120  # unknown: at any moment
    assert AtEpochs(100, 50, is_last=True).next_due(120) == math.inf
