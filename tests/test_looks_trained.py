"""A random mask over trained weights causes a warning; over fresh weights it does not."""

import warnings

import keras
import numpy as np
import pytest
from helpers import compiled, fit, sgd, toy_data
from steps_by_hand import step_by_hand

import keras_sparse as ks
from keras_sparse.training.looks_trained import looks_trained
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
    model(data[0], training=True)  # which moves averages of batch normalization
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    step_by_hand(optimizer, model.trainable_variables)
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


RANDOM_OVER_TRAINED = "random mask over trained weights"


class Headed(keras.Model):
    """A trained backbone and a new head, which only the first call builds."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone, self.head = backbone, layers.Dense(4)

    def call(self, inputs):
        return self.head(self.backbone(inputs))


def headed(bias):
    backbone = keras.Sequential([keras.Input((8,)), layers.Dense(16)])
    backbone.layers[0].bias.assign(np.full(16, bias))
    return Headed(backbone)


@pytest.mark.backend
@pytest.mark.parametrize("bias", [0.0, 1.0])
@pytest.mark.parametrize("how", ["UpdateMasks", "no callback", "train_on_batch"])
def test_a_model_that_its_first_step_builds_warns_of_its_trained_part(how, bias):
    model = compiled(ks.StaticSparsity(sgd(), 0.5), headed(bias))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if how == "train_on_batch":
            model.train_on_batch(*toy_data())
        else:
            fit(model, *([ks.UpdateMasks()] if how == "UpdateMasks" else []), epochs=2)
    messages = [str(warning.message) for warning in caught]
    assert sum(RANDOM_OVER_TRAINED in message for message in messages) == (bias != 0)
    assert {str(mask.mean()) for mask in model.optimizer.masks.values()} == {"0.5"}


@pytest.mark.parametrize(
    ("bias", "settings", "warns"),
    [
        (1.0, {}, True),
        (1.0, {"initial_scale": None}, True),
        (0.0, {}, False),
        (1.0, {"initial_masks": "magnitude"}, False),
    ],
)
def test_whoever_builds_the_optimizer_is_told_of_random_masks_over_trained_weights(
    bias, settings, warns
):
    model = compiled(ks.SparseMomentum("adam", 0.5, **settings))
    model.layers[1].bias.assign(np.full(4, bias))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.optimizer.build(model)
        model.optimizer.build(model)
        step_by_hand(model.optimizer, model.trainable_variables)
    assert [RANDOM_OVER_TRAINED in str(one.message) for one in caught] == [True] * warns


def test_an_optimizer_built_of_variables_says_it_when_it_gets_to_know_the_model():
    model = compiled(ks.SparseMomentum("adam", 0.5, initial_scale=None))
    model.layers[1].bias.assign(np.ones(4))
    model.optimizer.build(model.trainable_variables)
    with pytest.warns(UserWarning, match=RANDOM_OVER_TRAINED):
        fit(model, ks.UpdateMasks(), epochs=2)
