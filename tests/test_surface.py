"""What a user sees of the package: its names, its reprs, its seed."""

import types

import keras
import numpy as np
import pytest
from helpers import built, compiled, fit, sgd, toy_model

import keras_sparse as ks

layers = keras.layers


def test_dir_lists_the_public_names():
    assert sorted(dir(ks)) == sorted([*ks.__all__, "__version__"])
    assert all(hasattr(ks, name) for name in dir(ks))


def test_the_density_of_a_model():
    assert ks.density(built()) == 0.25
    model = toy_model()
    assert ks.density(model) == 1.0
    model.get_layer("hidden").kernel.assign(np.eye(8, 16))
    assert ks.density(model) == (8 + 64) / 192


def test_the_density_of_sparse_layers_is_that_of_their_masks():
    model = ks.sparsify(toy_model())
    model.get_layer("hidden").set_mask(np.eye(8, 16, dtype=bool))
    assert ks.density(model) == (8 + 64) / 192


def test_density_is_still_a_module():
    assert isinstance(ks.density, types.ModuleType)
    assert ks.density.uniform([(10, 10), (10, 2)], 0.1) == [10, 2]


def test_density_of_no_model():
    with pytest.raises(TypeError, match="`model` must be a Keras model. Received: model=0.1"):
        ks.density(0.1)
    with pytest.raises(ValueError, match="`model` must have a kernel: build it"):
        ks.density(keras.Sequential([layers.Dense(2)]))


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (lambda: ks.layers.SparseConv2D(16, 3), "SparseConv2D"),
        (lambda: ks.layers.SparseDense(16), "SparseDense"),
        (lambda: ks.layers.FusedBatchNormalization(), "FusedBatchNormalization"),
    ],
)
def test_layers_are_called_by_their_names(layer, name, capsys):
    made = layer()
    assert type(made).__name__ == name
    assert repr(made).startswith(f"<{name} name=")
    model = keras.Sequential([keras.Input((8, 8, 16)), made])
    model.summary()
    assert f"({name})" in capsys.readouterr().out


def test_a_subclass_has_a_name_of_its_own():
    class Mine(ks.layers.SparseDense):
        pass

    assert (Mine.__name__, Mine(3).name) == ("Mine", "mine")


def test_objects_say_what_they_are():
    optimizer = ks.RigL(sgd(), 0.1)
    text = (
        "<SparseMomentum around SGD: density=0.1, prune=magnitude, redistribute=None, "
        "grow=gradient, not built>"
    )
    assert repr(optimizer) == text
    assert "2 masks" in repr(built().optimizer)
    assert repr(ks.CosineOverTraining()) == "CosineOverTraining(initial=0.5, final=0.005)"
    assert (
        repr(ks.CubicOverTraining(0.1))
        == "CubicOverTraining(initial=1.0, final=0.1, begin=0.0, end=0.75)"
    )
    assert repr(ks.UpdateMasks(10, density=0.1)) == "UpdateMasks(every=10, density=0.1)"
    layer = ks.MaskedLayer("net/kernel", np.ones((2, 2)), np.ones((2, 2), bool))
    assert repr(layer) == "MaskedLayer('net/kernel', block_shape=None, of weight, mask)"
    assert (
        repr(ks.SparseMomentum(sgd(), 0.1, dense="head").selection)
        == "Selection(sparse=[], dense=['head'])"
    )


def masks_after(keras_seed, seed=None):
    keras.utils.set_random_seed(keras_seed)
    return built(seed=seed).optimizer.masks["toy/hidden/kernel"]


@pytest.mark.backend
def test_masks_follow_the_seed_of_keras():
    one, same, other = masks_after(1), masks_after(1), masks_after(2)
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.backend
def test_a_seed_that_is_given_is_not_that_of_keras():
    np.testing.assert_array_equal(masks_after(1, seed=5), masks_after(2, seed=5))


def test_two_optimizers_draw_two_seeds():
    assert ks.SparseMomentum(sgd(), 0.1).seed != ks.SparseMomentum(sgd(), 0.1).seed


@pytest.mark.parametrize("how", ["config", "keras", "weights"])
def test_a_drawn_seed_is_saved(tmp_path, how):
    model = compiled(ks.SET(sgd(), 0.25))
    fit(model, ks.UpdateMasks("epoch"), epochs=2)
    if how == "config":
        other = ks.SparseMomentum.from_config(model.optimizer.get_config())
    elif how == "keras":
        model.save(tmp_path / "model.keras")
        other = keras.models.load_model(tmp_path / "model.keras").optimizer
    else:
        model.save_weights(tmp_path / "all.weights.h5")
        resumed = built(seed=None)
        assert resumed.optimizer.seed != model.optimizer.seed
        resumed.load_weights(tmp_path / "all.weights.h5")
        other = resumed.optimizer
    assert other.seed == model.optimizer.seed


def test_the_callback_takes_the_drawn_seed_of_the_optimizer():
    model = compiled(ks.SparseMomentum(sgd(), 0.25))
    fit(model, ks.UpdateMasks("epoch", density=0.25), epochs=2)
