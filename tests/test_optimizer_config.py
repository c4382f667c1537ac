"""SparseMomentum through its config."""

import functools
import json

import keras
import numpy as np
import pytest
from helpers import assert_same, compiled, fit, sgd, toy_model

import keras_sparse as ks

tfmot = pytest.importorskip("tensorflow_model_optimization").sparsity.keras
backend = pytest.mark.backend
schedules = keras.optimizers.schedules


# --- config


@keras.saving.register_keras_serializable("tests")
def own_score(layer, rng):
    return np.abs(layer.weight)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ks.SparseMomentum(
            sgd(),
            0.1,
            distribution={"head": 0.5},
            block_shape=(2, 2),
            growth_window=50,
            seed=7,
            name="mine",
        ),
        lambda: ks.SparseMomentum(
            "adam",
            ks.CubicOverTraining(0.1),
            prune_rate=schedules.CosineDecay(0.5, 100),
            distribution="erk",
        ),
        lambda: ks.SparseMomentum(
            "sgd",
            0.1,
            prune=own_score,
            grow=own_score,
            redistribute=None,
            dense=["head", keras.layers.EinsumDense],
        ),
        lambda: ks.RigL("sgd", 0.1, sparse=keras.layers.Embedding),
        lambda: ks.SET("sgd", 0.1, structure=ks.Blocks(2, 2, per_tap=True)),
        lambda: ks.SET("sgd", 0.1),
        lambda: ks.StaticSparsity("sgd", 0.1, initial_masks="nonzero"),
        lambda: ks.GradualPruning("sgd", 0.1),
        lambda: ks.GradualPruning("sgd", tfmot.PolynomialDecay(0.0, 0.9, 0, 100)),
    ],
)
def test_config_goes_through_json(make):
    optimizer = make()
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer)))
    again = keras.saving.deserialize_keras_object(config)
    assert json.dumps(again.get_config()) == json.dumps(optimizer.get_config())
    assert again.structure == optimizer.structure
    for rule in ("prune", "grow", "redistribute", "distribution"):
        assert getattr(again, rule) == getattr(optimizer, rule)


@pytest.mark.parametrize("make", [ks.RigL, ks.SET, ks.StaticSparsity, ks.GradualPruning])
def test_every_preset_saves_and_goes_on(make, tmp_path):
    model = compiled(make(sgd(), 0.25))
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        fit(one, ks.UpdateMasks())
    assert_same(loaded.get_weights(), model.get_weights())
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))


@pytest.mark.parametrize(
    "arguments",
    [{"dense": "head"}, {"dense": "toy/head/kernel"}, {"distribution": {"toy/head/kernel": 0.5}}],
)
def test_paths_are_found_again_in_a_loaded_model(tmp_path, arguments):
    model = compiled(ks.SparseMomentum(sgd(), 0.25, **arguments))
    fit(model, ks.UpdateMasks())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")  # whose paths are without "toy"
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))


def test_a_layer_as_selector_is_found_again_in_a_loaded_model(tmp_path):
    model = toy_model()
    fit(compiled(ks.SparseMomentum(sgd(), 0.25, dense=model.layers[1]), model), ks.UpdateMasks())
    model.save(tmp_path / "model.keras")
    assert list(keras.models.load_model(tmp_path / "model.keras").optimizer.masks) == [
        "hidden/kernel"
    ]


def test_the_largest_weights_of_all_layers_need_no_schedule_and_no_distribution():
    make = functools.partial(ks.SparseMomentum, sgd(), initial_masks="magnitude")
    assert make(0.1, scope="global").scope == "global"
    assert make(0.1, distribution="erk").scope == "layer"
    with pytest.raises(ValueError, match="distribution"):
        make(0.1, scope="global", distribution="erk")
    with pytest.raises(ValueError, match="nothing is pruned to one.*initial_masks='random'"):
        ks.SparseMomentum(sgd(), 0.1, scope="global")
