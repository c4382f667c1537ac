"""The steps at which a training begins and ends, by hand: of an optimizer that only counts."""

import dataclasses
import math

import pytest

from keras_sparse.training.epoch_plan import Epoch
from keras_sparse.training.training_span import TrainingSpan


@dataclasses.dataclass
class Optimizer:
    gradient_accumulation_steps: int | None = None
    announced_stop: float = -math.inf
    steps: int = 0
    counters: dict = dataclasses.field(
        default_factory=lambda: {"epoch": 0, "training_start": 0, "training_stop": -1}
    )

    def counter(self, name):
        return self.counters[name]

    def set_counter(self, name, value):
        self.counters[name] = value

    def set_training(self, start, stop):
        self.counters["training_start"] = start
        self.counters["training_stop"] = -1 if stop is None else stop

    def step(self):
        return self.steps

    def span(self):
        return self.counters["training_start"], self.counters["training_stop"]


def begun(optimizer, epochs=4, batches=10, steps_per_batch=1):
    span = TrainingSpan(optimizer, steps_per_batch)
    span.begin(epochs, batches, 1)
    return span


def test_a_model_that_accumulates_gradients_itself_is_measured_in_each_epoch():
    optimizer = Optimizer()
    span = begun(optimizer, epochs=5)
    assert span.open_epoch(0, 0) is False
    assert optimizer.span() == (0, 50)
    span.open_epoch(1, 5)  # 5 steps of 10 batches
    assert (span.fit.accumulation, optimizer.span()) == (2, (0, 25))
    span.open_epoch(2, 9)  # 9 of 20
    assert (span.fit.accumulation, optimizer.span()) == (2, (0, 22))  # 9 + 9 * 3 // 2


@pytest.mark.parametrize("made", [0, 7, 9, 10, 14, 25])
def test_a_few_steps_more_or_less_than_batches_change_nothing(made):
    optimizer = Optimizer()
    span = begun(optimizer)
    span.open_epoch(0, 0)
    span.open_epoch(1, made)
    assert (span.fit.accumulation, optimizer.span()) == (1, (0, 40))


def test_an_epoch_of_one_step_is_measured():
    optimizer = Optimizer()
    span = begun(optimizer, batches=2)
    span.open_epoch(0, 0)
    span.open_epoch(1, 1)
    assert (span.fit.accumulation, optimizer.span()) == (2, (0, 4))


def test_a_fit_that_begins_later_counts_its_own_epochs_and_steps():
    optimizer = Optimizer()
    span = begun(optimizer)
    span.open_epoch(2, 7)
    assert optimizer.span() == (7, 27)
    span.open_epoch(3, 12)
    assert (span.fit.accumulation, optimizer.span()) == (2, (7, 17))


def test_what_keras_accumulates_is_known():
    optimizer = Optimizer(gradient_accumulation_steps=2)
    span = begun(optimizer)
    span.open_epoch(0, 0)
    span.open_epoch(1, 2)
    assert (span.fit.accumulation, optimizer.span()) == (2, (0, 20))


@pytest.mark.parametrize("length", [{"steps_per_batch": None}, {"batches": None}])
def test_an_epoch_of_unknown_length_is_not_measured(length):
    span = begun(Optimizer(), **length)
    span.open_epoch(0, 0)
    span.open_epoch(1, 5)
    assert span.fit.accumulation == 1


@pytest.mark.parametrize(("announced", "stop"), [(5, 20), (6, 100)])
def test_an_announced_training_keeps_its_length_until_it_ends(announced, stop):
    optimizer = Optimizer(announced_stop=announced)
    span = begun(optimizer)
    span.open_epoch(0, 0)
    optimizer.set_training(0, 100)
    span.open_epoch(1, 5)
    assert (span.fit.accumulation, optimizer.span()) == (2, (0, stop))


@pytest.mark.parametrize(("now", "expected"), [(4, (0, 5)), (5, (5, -1)), (6, (6, -1))])
def test_a_fit_of_unknown_length_within_an_announced_training_is_a_part_of_it(now, expected):
    optimizer = Optimizer(announced_stop=5)
    optimizer.set_training(0, 5)
    begun(optimizer, batches=None).open_epoch(0, now)
    assert optimizer.span() == expected


# --- the first batch


@pytest.mark.parametrize(("made", "batches", "each"), [(2, 1, 2), (3, 2, 1), (2, 2, 1)])
def test_the_first_batches_tell_the_steps_of_each(made, batches, each):
    optimizer = Optimizer(steps=7 + made)
    optimizer.set_training(7, None)
    span = begun(optimizer, steps_per_batch=None)
    assert span.count_steps(Epoch(number=1, now=7, start=7, stop=-1), batches) is True
    assert span.fit.steps_per_batch == each
    assert optimizer.span() == (7, 7 + each * 10 * 3)  # in the three epochs that are left


def test_fewer_steps_than_batches_tell_nothing():
    span = begun(Optimizer(steps=1), steps_per_batch=None)
    assert span.count_steps(Epoch(number=0, now=0, start=0, stop=-1), 2) is False
    assert span.fit.steps_per_batch is None


@pytest.mark.parametrize("known", [(0, -1), (8, 40)])
def test_a_training_that_began_before_or_has_an_end_keeps_its_span(known):
    optimizer = Optimizer(steps=9)
    optimizer.set_training(known[0], None if known[1] < 0 else known[1])
    span = begun(optimizer, steps_per_batch=None)
    assert span.count_steps(Epoch(number=1, now=8, start=known[0], stop=known[1]), 1)
    assert optimizer.span() == known
