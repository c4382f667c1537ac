"""A model whose own step accumulates gradients: the epochs that have ended tell how long it trains.

Without a network, as in test_mask_training.py.
"""

from test_mask_training import go, optimizer_of, run_epoch, span, training_of

import keras_sparse as ks


def run_accumulating_epoch(training, number, batches=8, accumulated=4):
    training.begin_epoch(number)
    for batch in range(batches):
        training.begin_batch(batch)
        go(training.optimizer, (batch + 1) % accumulated == 0)
        training.end_batch(batch)


def test_the_first_epoch_tells_the_length_where_the_model_accumulates_gradients():
    optimizer = optimizer_of(ks.GradualPruning)
    training = training_of(optimizer)
    training.begin({"epochs": 6, "steps": 8}, 1)
    run_accumulating_epoch(training, 2)  # Keras' initial_epoch
    assert span(optimizer) == (0, 32)  # as if each batch were a step
    for number in (3, 4, 5):
        run_accumulating_epoch(training, number)
        assert span(optimizer) == (0, 8)  # 2 steps in each of 4 epochs
    assert optimizer.total_density() == 0.25


def test_steps_that_only_the_first_epoch_skipped_count_again():
    optimizer = optimizer_of()
    training = training_of(optimizer)
    training.begin({"epochs": 4, "steps": 8}, 1)
    run_accumulating_epoch(training, 0, accumulated=2)  # 4 steps
    run_epoch(training, 1, batches=8)
    assert span(optimizer) == (0, 16)  # 4 in each of 4 epochs
    training.begin_epoch(2)
    assert span(optimizer) == (0, 24)  # 12 in the first half


def test_the_length_that_the_user_has_announced_is_not_measured():
    optimizer = optimizer_of()
    optimizer.start_training(40)
    training = training_of(optimizer)
    training.begin({"epochs": 2, "steps": 8}, 1)
    for number in (0, 1):
        run_accumulating_epoch(training, number)
    assert span(optimizer) == (0, 40)
