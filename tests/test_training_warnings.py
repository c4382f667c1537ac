"""When a training is warned of, before and after it: by hand, with optimizers that only tell."""

import dataclasses
import math
import warnings

import pytest

import keras_sparse as ks
from keras_sparse.rules.structure_arguments import as_structure
from keras_sparse.rules.update_times import AtEpochs, EverySteps
from keras_sparse.training.epoch_plan import Epoch, FitLength
from keras_sparse.training.final_density import FinalDensity
from keras_sparse.training.masked_weight import Counts
from keras_sparse.training.training_warnings import warn_after, warn_before

CUBIC, ONE, TWO = ks.CubicOverTraining(0.1), FitLength(1, 10), FitLength(2, 10)
KNOWN, UNKNOWN = Epoch(0, 0, 0, 10), Epoch(0, 0, 0, -1)
REACHED, LATER = FinalDensity(0.2, 5), FinalDensity(0.2, 10, 0.1)


@dataclasses.dataclass
class Weight:
    active: int
    shape: tuple = (8, 8)

    def counts(self):
        return Counts(self.active, self.active + 5)


@dataclasses.dataclass
class Optimizer:
    density: object = 0.1
    now: float = 0.3
    steps: int = 10
    announced_stop: float = -math.inf
    warned_of_density: bool = False
    built: bool = True
    masked_variables: tuple = ("kernel",)
    weights: tuple = (Weight(16), Weight(17))
    structure: object = dataclasses.field(default_factory=lambda: as_structure((4, 4)))

    def budget_density(self):
        return self.now

    def density_is_above(self, density):
        return self.now > density

    def counter(self, name):
        return {"last_update": 0, "training_stop": 20}[name]

    def step(self):
        return self.steps

    def trained_weights(self):
        return self.weights


def told(warn, *arguments):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        warn(*arguments)
    return [str(one.message) for one in found]


@pytest.mark.parametrize(
    ("density", "fit", "epoch", "final", "times", "message"),
    [
        (CUBIC, ONE, UNKNOWN, None, AtEpochs(0, None), "The density schedule follows the training"),
        (CUBIC, ONE, Epoch(3, 9, 9, -1), None, EverySteps(4), "The density schedule follows the"),
        (CUBIC, TWO, UNKNOWN, None, AtEpochs(0, None), None),  # the first epoch will tell
        (0.1, ONE, UNKNOWN, None, EverySteps(4), None),
        (CUBIC, ONE, KNOWN, None, EverySteps(4), None),
        (0.1, ONE, KNOWN, None, EverySteps(10), "The masks will not be updated in this training"),
        (0.1, ONE, KNOWN, None, EverySteps(9), None),
        (CUBIC, ONE, KNOWN, REACHED, EverySteps(10), None),  # it will be pruned to it
        (CUBIC, ONE, KNOWN, LATER, EverySteps(4), "The density schedule is not over when this"),
    ],
)
def test_before_a_training(density, fit, epoch, final, times, message):
    found = told(warn_before, Optimizer(density), "auto", times, fit, epoch, final)
    assert [one[: len(message or "")] for one in found] == ([] if message is None else [message])


def test_the_warning_before_says_what_was_asked_for():
    arguments = "auto", EverySteps(10), ONE, KNOWN, None
    [found] = told(warn_before, Optimizer(), *arguments)
    assert found.endswith("Received: every='auto', epochs=1, steps=10")


@pytest.mark.parametrize(
    ("built", "masked", "messages"),
    [(True, (), 1), (False, (), 0), (True, ("kernel",), 0)],  # before it is built, nobody knows
)
def test_an_optimizer_without_masks_says_that_all_kernels_are_frozen(built, masked, messages):
    optimizer = Optimizer(built=built, masked_variables=masked)
    found = told(warn_before, optimizer, "auto", EverySteps(4), ONE, KNOWN, None)
    assert len(found) == messages
    assert all("all kernels are frozen" in one and "density=0.1" in one for one in found)


def test_a_schedule_that_is_not_over_is_told_once():
    arguments = "auto", EverySteps(4), ONE, KNOWN, LATER
    assert told(warn_before, Optimizer(warned_of_density=True), *arguments) == []


@pytest.mark.parametrize(
    ("settings", "final", "message"),
    [
        ({}, None, None),  # a density that does not move
        ({}, REACHED, "a density of 0.3 where 0.2 was asked for: the training was stopped at step"),
        ({"now": 0.2}, REACHED, None),
        ({"announced_stop": 10}, REACHED, "was stopped at step 10 of 20"),
        ({"announced_stop": 11}, REACHED, None),  # the training goes on
        ({"steps": 20}, REACHED, "weights of an earlier step were put back"),
        ({"steps": 20}, LATER, "0.1 was asked for: the density schedule reaches it only after"),
        ({"warned_of_density": True}, LATER, None),
        ({"warned_of_density": True}, REACHED, "where 0.2 was asked for"),
        ({"weights": (Weight(16), Weight(16))}, REACHED, "each masked layer keeps one weight, or"),
    ],
)
def test_after_a_training(settings, final, message):
    optimizer = Optimizer(**settings)
    found = told(warn_after, optimizer, final)
    assert len(found) == (message is not None)
    assert message is None or message in found[0]
    was = settings.get("warned_of_density", False)
    assert optimizer.warned_of_density == (was or (final is LATER and message is not None))
