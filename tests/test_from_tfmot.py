"""Models that tfmot has pruned come over to Keras 3 with their predictions and masks."""

import keras
import numpy as np
import pytest
from helpers import array, fit, toy_model

import keras_sparse as ks

tf_keras = pytest.importorskip("tf_keras")
tfmot = pytest.importorskip("tensorflow_model_optimization").sparsity.keras
layers = tf_keras.layers
HALF = {"pruning_schedule": tfmot.ConstantSparsity(0.5, 0, frequency=1)}


def images():
    """A network of every kind of kernel in a vision model, some of its layers shared."""
    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="block/conv")(inputs)
    x = layers.BatchNormalization(name="block/bn")(x)
    shared = layers.DepthwiseConv2D(3, padding="same")
    x = layers.Add()([shared(x), shared(layers.ReLU(6.0)(x))])
    x = layers.SeparableConv2D(8, 3, depthwise_initializer="he_normal")(x)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return tf_keras.Model(inputs, layers.Dense(4, activation="softmax")(x)), (8, 8, 3)


def words():
    embedding = layers.Embedding(50, 8, input_length=6)
    body = [layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.GRU(4)]
    return tf_keras.Sequential([embedding, *body, layers.Dense(3)]), (6,)


def attention():
    inputs = layers.Input((6, 4))
    x = layers.MultiHeadAttention(2, 4)(inputs, value=layers.Dense(4)(inputs))
    return tf_keras.Model(inputs, layers.LayerNormalization()(x)), (6, 4)


def nested():
    """Models within a model, called more than once, with two outputs."""
    one = layers.Input((8,))
    functional = tf_keras.Model(one, layers.Dense(8, activation="relu")(one), name="functional")
    sequential = tf_keras.Sequential([layers.Dense(8, input_shape=(8,))], name="sequential")
    inputs = layers.Input((8,))
    x = sequential(functional(sequential(inputs)))
    outputs = [functional(x), x]
    return tf_keras.Model(inputs, outputs), (8,)


def within_a_sequential():
    inner, _ = nested()
    first = tf_keras.Model(inner.inputs, inner.outputs[0], name="first")
    return tf_keras.Sequential([layers.Input((8,)), first, layers.Dense(2)]), (8,)


def mixed():
    dense = layers.Dense(4, dtype=tf_keras.mixed_precision.Policy("mixed_float16"))
    return tf_keras.Sequential([layers.Input((8,)), dense, layers.Dense(2, trainable=False)]), (8,)


def gates():
    """Activations that Keras 3 computes otherwise, and an argument that has another name there."""
    gated = layers.GRU(4, recurrent_activation="hard_sigmoid", return_sequences=True)
    cell = layers.RNN(layers.LSTMCell(4, recurrent_activation="hard_sigmoid"))
    body = [gated, cell, layers.Dense(4, activation=tf_keras.activations.hard_sigmoid)]
    ends = [layers.Activation("hard_sigmoid"), layers.Dense(3), layers.LeakyReLU(0.1)]
    return tf_keras.Sequential([layers.Input((6, 4)), *body, *ends]), (6, 4)


def adapted():
    """A layer that computes with copies of its weights."""
    normalization = layers.Normalization()
    normalization.adapt(np.array([[0.0, 3.0, 100.0], [4.0, 5.0, 300.0]]))
    return tf_keras.Sequential([layers.Input((3,)), normalization, layers.Dense(2)]), (3,)


def data(shape):
    return np.random.default_rng(0).integers(0, 9, (5, *shape)).astype("float32")


@pytest.fixture(scope="module")
def pruned():
    """A model after two epochs of pruning. The last step has changed weights under the masks."""
    tf_keras.utils.set_random_seed(0)
    model, shape = images()
    model = tfmot.prune_low_magnitude(model, **HALF)
    model.compile(tf_keras.optimizers.legacy.SGD(0.1), "mse")
    steps = [tfmot.UpdatePruningStep()]
    model.fit(data(shape), np.ones((5, 4)), epochs=2, verbose=0, callbacks=steps)
    wrapper = model.layers[1]
    weight, mask, _ = wrapper.pruning_vars[0]
    weight.assign_add(0.1 * (1 - mask))
    return model, shape


def test_a_model_in_the_middle_of_its_pruning(pruned):
    model, shape = pruned
    new = ks.from_tfmot(model)
    assert ks.density(new) == 0.5
    expected = model.predict(data(shape), verbose=0)  # tfmot masks the weights in each call
    np.testing.assert_allclose(new.predict(data(shape), verbose=0), expected, atol=1e-6)
    _, mask, _ = model.layers[1].pruning_vars[0]
    kernel = array(new.get_layer("block_conv").kernel)
    np.testing.assert_array_equal(kernel != 0, mask.numpy() != 0)


def test_it_trains_on_under_the_same_masks(pruned):
    model = ks.from_tfmot(pruned[0])
    optimizer = ks.StaticSparsity(
        keras.optimizers.SGD(0.1, momentum=0.9), ks.density(model), initial_masks="nonzero"
    )
    model.compile(optimizer, "mse")
    before = {v.path: array(v) for v in model.trainable_variables}
    fit(model, ks.UpdateMasks(), data=(data((8, 8, 3)), np.ones((5, 4))))
    for path, mask in optimizer.masks.items():
        np.testing.assert_array_equal(array(mask), before[path] != 0)


def bins():
    """Layers whose constructors take few arguments in Keras 3, or that have another name there."""
    adapted_bins = layers.Discretization(num_bins=4)
    adapted_bins.adapt(np.linspace(0.0, 9.0, 30))
    body = [layers.Rescaling(0.5), layers.SpatialDropout1D(0.1), layers.ThresholdedReLU(0.6)]
    ends = [layers.Discretization([1.0, 2.0]), layers.Flatten(), layers.Dense(3)]
    return tf_keras.Sequential([layers.Input((6, 4)), adapted_bins, *body, *ends]), (6, 4)


@pytest.mark.parametrize(
    "make",
    [images, words, attention, nested, within_a_sequential, mixed, gates, adapted, bins],
    ids=lambda f: f.__name__,
)
def test_models_of_every_kind(make):
    model, shape = make()
    new = ks.from_tfmot(model)
    x = data(shape) + 0.75 * (make is not words)
    expected = model.predict(x, verbose=0)
    found = new.predict(x, verbose=0)
    for one, other in zip(keras.tree.flatten(found), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    trainable = [[layer.trainable for layer in one.layers] for one in (new, model)]
    assert trainable[0] == trainable[1][-len(trainable[0]) :]


def test_a_layer_of_your_own():
    class Twice(layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    class NewTwice(keras.layers.Dense):
        def call(self, inputs):
            return 2 * super().call(inputs)

    model = tf_keras.Sequential([layers.Input((8,)), Twice(3)])
    new = ks.from_tfmot(model, custom_objects={"Twice": NewTwice})
    x = data((8,))
    np.testing.assert_allclose(new.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)


def test_what_keras_3_lacks_is_named():
    inputs = layers.Input((8,))
    with pytest.raises(ValueError, match=r"TFOpLambda does not.*layer 'tf.math.multiply'"):
        ks.from_tfmot(tf_keras.Model(inputs, layers.Dense(2)(inputs * 2.0)))
    function = tf_keras.Sequential([layers.Input((8,)), layers.Lambda(lambda x: 2 * x)])
    with pytest.raises(ValueError, match=r"no function of a Lambda.*Received: layer 'lambda"):
        ks.from_tfmot(function)
    crop = tf_keras.Sequential([layers.Input((8, 8, 3)), layers.RandomCrop(4, 4)])
    with pytest.raises(ValueError, match=r"RandomCrop of Keras 3 returns whole.*'random_crop"):
        ks.from_tfmot(crop)
    recurrent = tf_keras.Sequential([layers.LSTM(3, time_major=True, input_shape=(4, 5))])
    with pytest.raises(ValueError, match=r"LSTM has no `time_major`.*Received: time_major=True"):
        ks.from_tfmot(recurrent)


def test_other_models_are_refused():
    with pytest.raises(TypeError, match=r"`model` must be a model of tf_keras.*Received: model="):
        ks.from_tfmot(toy_model())

    class Own(tf_keras.Model):
        def call(self, inputs):
            return inputs

    for model in (Own(), tf_keras.Sequential([layers.Dense(2)])):
        with pytest.raises(ValueError, match=r"must be a Sequential or functional"):
            ks.from_tfmot(model)
