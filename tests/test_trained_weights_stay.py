"""The initial scale never changes trained weights."""

import keras
import pytest
from helpers import array, assert_same, compiled, toy_data, toy_model
from keras import layers
from test_untrained import scaled, sequential

import keras_sparse as ks

backend = pytest.mark.backend
over_trained = pytest.mark.filterwarnings("ignore:A random mask over trained weights throws away")


def trained():
    model = toy_model()
    model.compile(keras.optimizers.SGD(1e-4), "mse")
    model.train_on_batch(*toy_data())
    return model


@backend
@over_trained
def test_weights_after_one_small_step_are_trained():
    assert not any(scaled(trained()).values())


@backend
@over_trained
def test_of_a_pretrained_backbone_and_a_new_head_the_head_is_scaled():
    backbone = trained().layers[0]
    assert scaled(sequential((8,), backbone, layers.Dense(16, name="new"))) == {
        "hidden/kernel": False,
        "new/kernel": True,
    }


@over_trained
def test_trained_weights_are_known_when_they_are_loaded(tmp_path):
    trained().save_weights(tmp_path / "model.weights.h5")
    model = toy_model()
    model.load_weights(tmp_path / "model.weights.h5")
    assert not any(scaled(model).values())


@pytest.mark.parametrize("change", [1.1, 0.7, -0.5])
def test_weights_of_another_size_are_not_those_of_the_initializer(change):
    model = sequential((32,), layers.Dense(64), layers.Dense(64))
    for layer in model.layers:
        layer.kernel.assign(change + layer.kernel if change < 0 else change * layer.kernel)
    assert not any(scaled(model).values())


def test_copies_without_a_bias_that_could_tell_count_as_trained():
    model = sequential((32,), layers.Dense(64, use_bias=False))
    model.set_weights(keras.models.clone_model(model).get_weights())
    assert not any(scaled(model).values())


@backend
@pytest.mark.parametrize(
    "initializer",
    [
        "glorot_uniform",
        "he_normal",
        "orthogonal",
        keras.initializers.VarianceScaling(1.0, "fan_out", "untruncated_normal"),
    ],
)
def test_a_copy_of_an_untrained_model_trains_as_the_model_does(initializer, tmp_path):
    def new():
        return sequential(
            (32,), layers.Dense(64, "relu", kernel_initializer=initializer), layers.Dense(64)
        )

    model, copy, file = new(), new(), tmp_path / "untrained.keras"
    copy.set_weights(model.get_weights())
    model.save(file)
    loaded = keras.models.load_model(file)
    for network in (model, copy, loaded):
        assert all(scaled(network).values())
    assert_same(copy.get_weights(), model.get_weights())
    assert_same(loaded.get_weights(), model.get_weights())


def test_a_weight_is_scaled_once():
    model = toy_model()
    assert all(scaled(model).values())
    assert not any(scaled(model).values())
    model = compiled()
    model.optimizer.build(model)
    weights = [array(layer.kernel) for layer in model.layers]
    ks.UpdateMasks().set_model(model)
    assert_same([array(layer.kernel) for layer in model.layers], weights)


@pytest.mark.parametrize(
    "settings", [{"initial_scale": None}, {"initial_masks": "magnitude"}, {"density": 1.0}]
)
def test_without_a_random_mask_or_on_request_weights_keep_their_values(settings):
    assert not any(scaled(toy_model(), **settings).values())


def test_a_seed_generator_is_left_where_it_is():
    seeds = keras.random.SeedGenerator(0)
    model = sequential(
        (32,), layers.Dense(64, kernel_initializer=keras.initializers.HeNormal(seeds))
    )
    state = array(seeds.state)
    assert all(scaled(model).values())
    assert_same([array(seeds.state)], [state])


def test_copies_of_untrained_models_know_their_initializers():
    model = toy_model()
    for copy in (
        keras.models.clone_model(model),
        ks.sparsify(model),
        ks.densify(ks.sparsify(model)),
    ):
        assert all(scaled(copy).values())
