"""The seed of masks: a given one stays, another is drawn, or that of the saved training."""

import keras
import pytest

from keras_sparse.training.seed import Seed

pytestmark = pytest.mark.backend


def seed(given):
    made = Seed(given)
    made.build()
    return made


def test_a_given_seed_is_that_of_the_user():
    made = seed(3)
    assert made.value == 3
    made.go_on_with(7)
    assert made.value == 3


def test_without_one_a_training_goes_on_with_the_saved_seed():
    made = seed(None)
    assert not made._variable.trainable
    made.go_on_with(7)
    assert made.value == 7


def test_a_drawn_seed_follows_that_of_keras():
    drawn = []
    for number in (1, 1, 2):
        keras.utils.set_random_seed(number)
        drawn.append(seed(None).value)
    assert drawn[0] == drawn[1] != drawn[2]
