"""When batches of a training end, and how one that was interrupted goes on.

Without a network, as in test_mask_training.py.
"""

import pytest
from helpers import compiled, sgd
from test_mask_training import TWO_EPOCHS, go, optimizer_of, run, run_epoch, span, training_of

import keras_sparse as ks
from keras_sparse.training import mask_training


def test_an_interrupted_epoch_of_a_model_that_steps_itself_goes_on_without_an_update(updates):
    optimizer = optimizer_of()
    training = training_of(optimizer, one_step_a_batch=False)
    training.begin(TWO_EPOCHS, 1)
    run_epoch(training, 0)
    training.begin_epoch(1)
    go(optimizer)
    resumed = training_of(optimizer, one_step_a_batch=False)
    resumed.begin(TWO_EPOCHS, 1)
    run_epoch(resumed, 1)
    assert updates == [4]  # at the first beginning of the epoch alone


def test_an_optimizer_that_was_built_in_the_training_and_made_no_step_was_not_trained():
    model = compiled(ks.SET(sgd(), 0.25, seed=0))
    training = training_of(model.optimizer, every=3)
    training.begin(TWO_EPOCHS, 1)
    training.begin_epoch(0)
    training.begin_batch(0)
    model.optimizer.build(model)
    training.end_batch(0)
    training.begin_batch(1)
    assert training.made_no_step()


@pytest.mark.parametrize(
    ("batches", "next_batch", "ended"),
    [
        (6, None, 5),  # the last execution is shorter
        (10, None, 7),
        (None, None, 7),
        (10, 6, 5),
        (6, 0, 7),
    ],
)
def test_an_execution_ends_with_the_batch_before_the_next_or_with_the_epoch(
    batches, next_batch, ended
):
    training, ends = training_of(optimizer_of()), []
    training.begin({"epochs": 2, "steps": batches}, 4)
    training.end_batch = ends.append
    training.end_last_batch(next_batch)
    assert ends == []  # none was begun
    training.begin_batch(4)
    training.end_last_batch(next_batch)
    assert ends == [ended]


def test_a_batch_ends_once():
    training = training_of(optimizer_of(), every=50)
    training.begin({"epochs": 1, "steps": 100}, 1)
    training.begin_epoch(0)
    training.begin_batch(0)
    left = training._batches_to_next_check
    for _ in range(2):
        training.end_last_batch()
        assert training._batches_to_next_check == left - 1


def test_memory_is_given_back_once_after_each_update(monkeypatch):
    optimizer, released = optimizer_of(), []
    monkeypatch.setattr(
        mask_training, "release_memory", lambda size: released.append((optimizer.step(), size))
    )
    run(training_of(optimizer, every=3))  # updates at 3 and 6
    assert released == [(4, 4 * 192), (7, 4 * 192)]


@pytest.mark.parametrize("number", [0, 1])
def test_a_resumed_training_of_unknown_length_goes_on(number):
    optimizer = optimizer_of()
    optimizer.set_counter("epoch", number + 1)  # it was interrupted in this epoch
    optimizer.set_counter("last_update", 4)
    go(optimizer, 6)
    training = training_of(optimizer)
    training.begin({"epochs": 3, "steps": None}, 1)
    training.begin_epoch(number)
    assert span(optimizer) == (0, -1 if number == 0 else 18)  # 6 steps in the first of 3 epochs
