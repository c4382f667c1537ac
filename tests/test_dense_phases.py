"""AC/DC: dense and sparse phases in turn."""

import keras
import numpy as np
import pytest
from backends import each
from helpers import array, assert_same, assert_sparse, compiled, fit, sgd, toy_model
from test_preset_trainings import BORDERS, MAKE, grown, numbered, recorded

import keras_sparse as ks

backend = pytest.mark.backend
HEAD = "toy/head/kernel"

DENSE, SPARSE = 192, 48


@backend
@pytest.mark.parametrize("convert", [lambda model: model, ks.sparsify], ids=["keras", "sparse"])
def test_dense_and_sparse_phases_alternate_and_masks_stay_within_a_phase(convert):
    optimizer = ks.ACDC(keras.optimizers.SGD(0.3, momentum=0.9), 0.25, borders=BORDERS)
    model, recorder = recorded(optimizer, epochs=6, model=convert(toy_model()))
    phases = [DENSE] * 4 + [SPARSE] * 4 + [DENSE] * 10 + [SPARSE] * 6
    assert recorder.counts() == phases
    for phase in (slice(4, 8), slice(18, 24)):
        masks = recorder.masks[phase]
        assert all(grown(masks[0], mask) == 0 for mask in masks)
    assert grown(recorder.masks[7], recorder.masks[18]) > 0  # the second choice is another
    assert_sparse(model, count=SPARSE)


@backend
def test_a_sparse_phase_begins_with_the_largest_weights_of_all_layers():
    model = compiled(MAKE["ACDC"](), numbered())
    optimizer = model.optimizer
    optimizer.build(model)
    optimizer.start_training(12)
    optimizer.iterations.assign(2)
    optimizer.update_masks()
    wanted = ks.prune(numbered(), 0.25, scope="global")
    assert_same(list(optimizer.masks.values()), list(wanted.values()))
    np.testing.assert_array_equal(array(model.get_layer("head").kernel) != 0, wanted[HEAD])
    optimizer.iterations.assign(3)
    optimizer.update_masks()  # in the middle of the phase
    assert_same(list(optimizer.masks.values()), list(wanted.values()))


OPTIMIZERS = {
    "SGD": sgd,
    "RMSprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.9),
    "Lion": lambda: keras.optimizers.Lion(0.001),
    "Adam": lambda: keras.optimizers.Adam(0.01),
    "AdamW": lambda: keras.optimizers.AdamW(0.01),
    "Nadam": lambda: keras.optimizers.Nadam(0.01),
    "Lamb": lambda: keras.optimizers.Lamb(0.01),
    "Adamax": lambda: keras.optimizers.Adamax(0.01),
    "Muon": lambda: keras.optimizers.Muon(0.01),
}


@each("name", OPTIMIZERS, on_jax=["SGD", "Adam", "Muon"])
def test_a_dense_phase_begins_with_zeros_and_without_momenta(name):
    model = compiled(ks.ACDC(OPTIMIZERS[name](), 0.25, borders=BORDERS, seed=0))
    optimizer = model.optimizer
    optimizer.build(model)
    fit(model, ks.UpdateMasks(10**6), epochs=1)
    optimizer.start_training(24, begun_at=0)
    optimizer.update_masks()  # step 4: sparse
    assert_sparse(model, count=SPARSE)
    assert any(ks.momentum_of(optimizer.inner_optimizer, i).any() for i in range(4))
    optimizer.iterations.assign(8)
    weights = model.get_weights()
    optimizer.update_masks()
    assert optimizer.total_density() == 1.0
    assert_same(model.get_weights(), weights)
    assert not any(ks.momentum_of(optimizer.inner_optimizer, i).any() for i in range(4))


@pytest.mark.parametrize(
    ("inner", "steps"),
    [(sgd, 0), (lambda: keras.optimizers.Adam(), np.inf), (lambda: keras.optimizers.Lion(), 0)],
)
def test_missing_weights_need_gradients_only_for_a_second_moment(inner, steps):
    assert ks.ACDC(inner(), 0.1).growth_window_steps() == steps


def test_each_fit_is_a_training_that_begins_dense():
    model, recorder = recorded(MAKE["ACDC"](), epochs=2)
    fit(model, ks.UpdateMasks(), recorder, epochs=3)
    assert recorder.counts() == [DENSE] * 2 + [SPARSE] * 2 + [DENSE] * 5 + [SPARSE] * 3


def test_phases_shorter_than_an_execution_end_at_the_density():
    model, recorder = recorded(MAKE["ACDC"](), epochs=2, steps_per_execution=4)
    assert recorder.counts() == [DENSE, SPARSE]  # at the ends of executions
    assert_sparse(model, count=SPARSE)


def test_weights_of_a_sparse_phase_that_are_put_back_bring_their_masks():
    """The best epoch is the second, which is sparse; the fourth, dense, is the last."""
    stopping = keras.callbacks.EarlyStopping(
        "score", patience=2, mode="max", restore_best_weights=True
    )
    model = compiled(MAKE["ACDC"]())
    fit(model, ks.UpdateMasks(), Scores([1, 2, 0, 0]), stopping, epochs=6)
    assert model.optimizer.step() == 16
    assert_sparse(model, count=SPARSE)


class Scores(keras.callbacks.Callback):
    """Logs a score for each epoch."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def on_epoch_end(self, epoch, logs=None):
        logs["score"] = self.scores[epoch]


def test_a_training_stopped_in_a_dense_phase_is_told():
    model = compiled(MAKE["ACDC"]())
    with pytest.warns(UserWarning, match="a density of 1 where 0.25 was asked for.*12 of"):
        fit(model, ks.UpdateMasks(), Stop(), epochs=6)


class Stop(keras.callbacks.Callback):
    """Ends the training after its third epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch == 2


@pytest.mark.parametrize(
    "borders", [(), (0.1, 0.2), (0.2, 0.1, 0.3), (0.1, 0.1, 0.2), (0.1, 0.2, 1.0), (-0.1,), 0.5]
)
def test_borders_that_cannot_be(borders):
    with pytest.raises(ValueError, match="`borders` must be an odd number of ascending values"):
        ks.ACDC("sgd", 0.1, borders=borders)


def test_a_schedule_of_phases_is_taken_as_it_is():
    schedule = ks.AlternatingOverTraining(0.1, (0.5,))
    assert ks.ACDC("sgd", schedule).density is schedule
    with pytest.raises(ValueError, match="The schedule has borders of its own"):
        ks.ACDC("sgd", schedule, borders=(0.1,))
    with pytest.raises(ValueError, match="or an AlternatingOverTraining: others never rise"):
        ks.ACDC("sgd", ks.CubicOverTraining(0.1))


def test_the_phases_of_the_papers():
    first_epochs = ks.ACDC("sgd", 0.1).density.first_steps(0, 100)
    assert first_epochs == [0, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 75, 85]


def test_a_step_is_in_the_phase_that_begins_with_it():
    for steps in range(1, 200):
        schedule = ks.AlternatingOverTraining(0.1)
        first = schedule.first_steps(7, 7 + steps)
        for step in range(steps):
            begun = sum(7 + step >= border for border in first)  # the first is the start
            assert schedule(step / steps) == (1.0 if begun % 2 else 0.1)
