"""Density, prune rate and rules may be set between trainings: they are checked, and followed."""

import keras
import pytest
from helpers import active, built, compiled, fit, sgd, sparse, toy_model

import keras_sparse as ks


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("density", 1.5, "`density` must be in .*Received: density=1.5"),
        ("prune_rate", 2, "`prune_rate` must be a number in .*Received: prune_rate=2"),
        ("prune", "smallest", "`prune` must be one of .*Received: prune='smallest'"),
        ("redistribute", "evenly", "`redistribute` must be one of .*Received: redistribute="),
        ("grow", "largest", "`grow` must be one of .*Received: grow='largest'"),
    ],
)
def test_what_cannot_work_fails_where_it_is_set(name, value, message):
    optimizer = built().optimizer
    before = getattr(optimizer, name)
    with pytest.raises(ValueError, match=message):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) is before


def test_numbers_and_names_are_taken_as_at_construction():
    optimizer = built().optimizer
    optimizer.prune_rate = 1
    optimizer.prune, optimizer.redistribute, optimizer.grow = "random", "active_count", None
    assert isinstance(optimizer.prune_rate, float)
    assert optimizer.prune_rate == 1.0
    assert optimizer.prune is ks.scores.SCORES["random"]
    assert optimizer.redistribute is ks.scores.SHARES["active_count"]
    assert optimizer.grow is None


@pytest.mark.parametrize("density", [0.1, 0.5])
def test_a_number_is_refused_as_a_density_once_there_are_masks(density):
    model = built(0.25)
    with pytest.raises(ValueError, match=f"prune_to_density.*Received: density={density}"):
        model.optimizer.density = density
    model.optimizer.density = 0.25  # it is that
    assert model.optimizer.density == 0.25
    assert active(model.optimizer) == 48


def test_before_there_are_masks_the_density_that_was_set_counts():
    model = compiled(sparse(density=0.25), toy_model())
    model.optimizer.density = 0.5
    fit(model, ks.UpdateMasks(), epochs=2)
    assert active(model.optimizer) == 96  # of 192
    assert keras.optimizers.serialize(model.optimizer)["config"]["density"] == 0.5


def test_a_later_fit_follows_a_density_schedule_that_was_set():
    model = compiled(ks.SparseMomentum(sgd(), 0.5, seed=0), toy_model())
    fit(model, ks.UpdateMasks(), epochs=2)
    model.optimizer.density = ks.CubicOverTraining(0.25, initial=0.5)
    model.optimizer.prune_rate = 0.1
    fit(model, ks.UpdateMasks(), epochs=3)
    assert active(model.optimizer) == 48


def test_a_density_schedule_is_refused_where_masks_never_change():
    optimizer = ks.StaticSparsity(sgd(), 0.25)
    with pytest.raises(ValueError, match="`prune=None` means masks that never change"):
        optimizer.density = ks.CubicOverTraining(0.1)
