"""A random mask over trained weights causes a warning; over fresh weights it does not."""

import warnings

import keras
import numpy as np
import pytest
from helpers import compiled, fit, toy_data

import keras_sparse as ks
from keras_sparse.training.looks_trained import looks_trained, masks_randomly_over_trained
from keras_sparse.training.untrained import constants_are_untouched

layers = keras.layers
SERIES = np.random.default_rng(0).normal(size=(32, 5, 8)).astype("float32"), toy_data()[1]
IMAGES = toy_data((6, 6, 3))
FORGETFUL = {"bias_initializer": keras.initializers.Constant(-2.0)}
NORMALISED = [
    layers.Conv2D(4, 3, use_bias=False),
    layers.BatchNormalization(),
    layers.Flatten(),
    layers.Dense(4, use_bias=False),
]


def recurrent(layer):
    return keras.Sequential([keras.Input((5, 8)), layer, layers.Dense(4, use_bias=False)])


def convolutional(*some):
    return keras.Sequential([keras.Input((6, 6, 3)), *some])


MODELS = {
    "LSTM": (lambda: recurrent(layers.LSTM(6)), SERIES),
    "GRU": (lambda: recurrent(layers.GRU(6)), SERIES),
    "bidirectional": (lambda: recurrent(layers.Bidirectional(layers.LSTM(6))), SERIES),
    "constant bias": (lambda: recurrent(layers.GRU(6, reset_after=False, **FORGETFUL)), SERIES),
    "normalised": (
        lambda: convolutional(*[type(one).from_config(one.get_config()) for one in NORMALISED]),
        IMAGES,
    ),
}


@pytest.mark.backend
@pytest.mark.parametrize("name", MODELS)
def test_fresh_and_trained(name):
    make, data = MODELS[name]
    model = make()
    assert not looks_trained(model, model.trainable_variables)
    fit(compiled("adam", model), epochs=1, data=data)
    assert looks_trained(model, model.trainable_variables)


def test_fit_warns_of_the_trained_one_alone():
    make, data = MODELS["GRU"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(
            compiled(ks.SparseMomentum("adam", 0.5), MODELS["LSTM"][0]()),
            ks.UpdateMasks(),
            data=data,
            epochs=2,
        )
    trained = make()
    trained.layers[0].cell.bias.assign(np.ones((2, 18)))
    with pytest.warns(UserWarning, match="random mask over trained weights"):
        fit(
            compiled(ks.SparseMomentum("adam", 0.5), trained), ks.UpdateMasks(), data=data, epochs=2
        )


def test_a_trained_backbone_that_stays_dense_is_none_of_its_business():
    backbone = convolutional(layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Flatten())
    model = keras.Sequential([backbone, layers.Dense(4, name="new_head")])
    backbone.layers[0].bias.assign(np.ones(4))
    backbone.layers[1].moving_mean.assign(np.ones(4))
    head = model.get_layer("new_head")
    assert not looks_trained(model, [head.kernel])
    assert looks_trained(model, [head.kernel, backbone.layers[0].kernel])


def test_an_adapted_normalization_is_not_trained():
    normalization = layers.Normalization()
    normalization.adapt(IMAGES[0])
    model = convolutional(normalization, layers.Flatten(), layers.Dense(4))
    assert not looks_trained(model, [model.layers[-1].kernel])


@pytest.mark.parametrize("index", [0, 3])
def test_one_bias_that_has_moved_tells_it(index):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4), layers.Dense(4)])
    assert constants_are_untouched(model)
    bias = np.zeros(4)
    bias[index] = 0.1
    model.layers[1].bias.assign(bias)
    assert looks_trained(model, model.trainable_variables)
    assert not constants_are_untouched(model)


def test_normalization_tells_it_unless_all_of_the_weights_layers_have_a_bias():
    body = [layers.Dense(4, use_bias=False), layers.BatchNormalization(), layers.Dense(4)]
    model = keras.Sequential([keras.Input((8,)), *body])
    body[1].moving_mean.assign(np.ones(4))
    assert looks_trained(model, [body[0].kernel, body[2].kernel])
    assert not looks_trained(model, [body[2].kernel])


def test_without_a_constant_nothing_tells_that_weights_are_untouched():
    assert not constants_are_untouched(
        keras.Sequential([keras.Input((8,)), layers.Dense(4, use_bias=False)])
    )


def test_new_random_masks_over_what_looks_trained():
    def made(bias=1.0, **settings):
        model = compiled(ks.SparseMomentum("adam", 0.5, **settings))
        model.layers[1].bias.assign(bias * np.ones(4))
        model.optimizer.build(model)
        return model, model.optimizer

    assert masks_randomly_over_trained(*made())
    assert not masks_randomly_over_trained(*made(bias=0.0))
    assert not masks_randomly_over_trained(*made(initial_masks="magnitude"))
    model, optimizer = made()
    optimizer.masks_were_loaded = True
    assert not masks_randomly_over_trained(model, optimizer)
    optimizer.masks_were_loaded = False
    optimizer.iterations.assign(1)
    assert not masks_randomly_over_trained(model, optimizer)
    assert not masks_randomly_over_trained(model, ks.SparseMomentum("adam", 0.5))
