"""Which weights get a mask, in every kind of layer and model."""

import keras
import numpy as np
import pytest
from helpers import assert_sparse, compiled, fit, sgd, toy_data, toy_model

import keras_sparse as ks
from keras_sparse.training.selection import Selection
from keras_sparse.training.selectors import selectors_of_config, selectors_to_config

pytestmark = pytest.mark.backend
layers = keras.layers

# layer: (input shape, names of the weights that get a mask)
CHOSEN = {
    "Dense": (lambda: layers.Dense(4), (8,), ["kernel"]),
    "Dense without bias": (lambda: layers.Dense(4, use_bias=False), (8,), ["kernel"]),
    "EinsumDense": (
        lambda: layers.EinsumDense("abc,cd->abd", (5, 4), bias_axes="d"),
        (5, 8),
        ["kernel"],
    ),
    "Conv1D": (lambda: layers.Conv1D(4, 3), (8, 2), ["kernel"]),
    "Conv2D": (lambda: layers.Conv2D(4, 3), (8, 8, 2), ["kernel"]),
    "Conv2D to one channel": (lambda: layers.Conv2D(1, 3), (8, 8, 2), ["kernel"]),
    "Conv3D": (lambda: layers.Conv3D(4, 3), (8, 8, 8, 2), ["kernel"]),
    "Conv1DTranspose": (lambda: layers.Conv1DTranspose(4, 3), (8, 2), ["kernel"]),
    "Conv2DTranspose": (lambda: layers.Conv2DTranspose(4, 3), (8, 8, 2), ["kernel"]),
    "Conv3DTranspose": (lambda: layers.Conv3DTranspose(4, 3), (8, 8, 8, 2), ["kernel"]),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(4, 3), (8, 2), ["pointwise_kernel"]),
    "SeparableConv2D": (lambda: layers.SeparableConv2D(4, 3), (8, 8, 2), ["pointwise_kernel"]),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(3), (8, 2), []),
    "DepthwiseConv2D": (lambda: layers.DepthwiseConv2D(3), (8, 8, 2), []),
    "DepthwiseConv2D, 2 per channel": (
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        (8, 8, 2),
        [],
    ),
    "LSTM": (lambda: layers.LSTM(4), (5, 8), ["kernel", "recurrent_kernel"]),
    "GRU": (lambda: layers.GRU(4), (5, 8), ["kernel", "recurrent_kernel"]),
    "SimpleRNN": (lambda: layers.SimpleRNN(4), (5, 8), ["kernel", "recurrent_kernel"]),
    "Bidirectional": (
        lambda: layers.Bidirectional(layers.LSTM(4)),
        (5, 8),
        ["kernel", "recurrent_kernel"] * 2,
    ),
    "TimeDistributed": (lambda: layers.TimeDistributed(layers.Dense(4)), (5, 8), ["kernel"]),
    "BatchNormalization": (lambda: layers.BatchNormalization(), (8,), []),
    "LayerNormalization": (lambda: layers.LayerNormalization(), (8,), []),
    "Embedding": (lambda: layers.Embedding(10, 4), (5,), []),
    "PReLU": (lambda: layers.PReLU(), (8,), []),
}


def chosen(model, **selectors):
    variables = model.trainable_variables
    return [
        variables[i].path.removeprefix(f"{model.name}/")
        for i in Selection(**selectors).select(variables, model)
    ]


@pytest.mark.parametrize("name", list(CHOSEN))
def test_default_weights(name):
    make, shape, expected = CHOSEN[name]
    model = keras.Sequential(
        [keras.Input(shape), make(), layers.Flatten(), layers.Dense(2, name="last")], name="model"
    )
    assert [path.split("/")[-1] for path in chosen(model)] == [*expected, "kernel"]


def test_attention():
    inputs = keras.Input((5, 8))
    model = keras.Model(inputs, layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs))
    assert chosen(model) == [
        f"attention/{part}/kernel" for part in ("query", "key", "value", "attention_output")
    ]


def functional():
    inputs = keras.Input((8,))
    return keras.Model(
        inputs, layers.Dense(4, name="head")(layers.Dense(16, "tanh", name="hidden")(inputs))
    )


def sequential():
    return keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, "tanh", name="hidden"), layers.Dense(4, name="head")]
    )


def nested():
    inputs = keras.Input((8,))
    body = keras.Sequential(
        [keras.Input((8,)), layers.Dense(16, "tanh", name="hidden")], name="body"
    )
    return keras.Model(inputs, layers.Dense(4, name="head")(body(inputs)))


class Subclassed(keras.Model):
    """Two layers, one of them in a list."""

    def __init__(self):
        super().__init__()
        self.blocks = [layers.Dense(16, "tanh", name="hidden")]
        self.head = layers.Dense(4, name="head")

    def call(self, x):
        return self.head(self.blocks[0](x))


def subclassed():
    model = Subclassed()
    model(np.zeros((1, 8), "float32"))
    return model


MODELS = [functional, sequential, nested, subclassed]


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ({}, ["hidden", "head"]),
        ({"dense": "head"}, ["hidden"]),
        ({"dense": "h*d"}, ["hidden"]),
        ({"dense": ["head/kernel"]}, ["hidden"]),
        ({"dense": "*", "sparse": "head"}, ["head"]),
        ({"dense": layers.Dense, "sparse": {"hidden"}}, ["hidden"]),
    ],
)
def test_selectors_in_all_kinds_of_models(make, selectors, expected):
    assert [path.split("/")[-2] for path in chosen(make(), **selectors)] == expected


@pytest.mark.parametrize("make", MODELS)
def test_all_kinds_of_models_train(make):
    model = compiled(model=make())
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


def test_a_layer_as_selector():
    model = nested()
    assert chosen(model, dense=model.layers[-1]) == ["body/hidden/kernel"]
    assert chosen(model, dense=model.get_layer("body")) == ["head/kernel"]


def test_a_type_selects_what_is_inside_of_it():
    inputs = keras.Input((5, 8))
    x = layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs)
    model = keras.Model(
        inputs, layers.Dense(2, name="head")(layers.Bidirectional(layers.GRU(4))(x))
    )
    assert chosen(model, dense=(layers.MultiHeadAttention, layers.GRU)) == ["head/kernel"]


def test_sparse_adds_what_is_dense_by_default():
    shape, expected = (8, 8, 2), ["taps/kernel", "head/kernel"]
    model = keras.Sequential(
        [
            keras.Input(shape),
            layers.DepthwiseConv2D(3, name="taps"),
            layers.Flatten(),
            layers.Dense(2, name="head"),
        ],
        name="model",
    )
    assert (
        chosen(model, sparse="taps") == chosen(model, sparse=layers.DepthwiseConv2D) == expected
    )  # and never the bias


@pytest.mark.parametrize(
    "settings", [{}, {"gradient_momentum": 0.9}, {"grow": "gradient", "redistribute": None}]
)
def test_an_embedding_if_asked(settings):
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Flatten()(layers.Embedding(10, 8, name="words")(inputs))
    model = compiled(
        ks.SparseMomentum(sgd(), 0.25, sparse="words", **settings),
        keras.Model(inputs, layers.Dense(4, name="head")(x)),
    )
    words = np.arange(32 * 5).reshape(32, 5) % 7  # three rows get no gradient
    fit(model, ks.UpdateMasks(), data=(words, toy_data()[1]))
    assert list(model.optimizer.masks) == ["words/embeddings", "head/kernel"]
    assert_sparse(model, count=60)  # a quarter of 80 + 160


def test_a_shared_layer_has_one_mask():
    inputs, shared = keras.Input((8,)), layers.Dense(8, "tanh", name="shared")
    model = compiled(
        model=keras.Model(inputs, layers.Dense(4, name="head")(shared(shared(inputs))))
    )
    fit(model, ks.UpdateMasks())
    assert list(model.optimizer.masks) == ["shared/kernel", "head/kernel"]
    assert_sparse(model, count=24)  # a quarter of 64 + 32


# --- without a training


def test_a_layer_is_saved_as_the_paths_of_its_kernels():
    layer = toy_model().layers[0]
    config = selectors_to_config([layer, "*/head/*", keras.layers.Dense])
    assert config == ["toy/hidden/kernel", "*/head/*", {"layer_type": "Dense"}]


@keras.saving.register_keras_serializable("tests_of_selection")
class OwnDense(keras.layers.Dense):
    """A registered layer type of a user."""


def test_layer_types_are_found_again_by_their_names():
    types = [OwnDense, keras.layers.Conv2D]
    assert selectors_to_config(types) == [{"layer_type": "OwnDense"}, {"layer_type": "Conv2D"}]
    assert selectors_of_config(selectors_to_config(types)) == types


def test_one_layer_type_among_selectors_needs_the_model():
    assert Selection(dense=["head", layers.Dense]).needs_model
    assert Selection(sparse=layers.Dense).needs_model
    assert not Selection(sparse="head", dense=["a", "b"]).needs_model


def test_kernels_of_one_axis_get_no_mask_and_one_output_is_no_depthwise_kernel():
    shapes = [(3,), (2, 2), (3, 1), (3, 2, 1)]
    variables = [keras.Variable(np.ones(shape), name="kernel") for shape in shapes]
    assert Selection().select(variables, None) == [1, 2]
