"""Multiply-adds of all kinds of layers and the channel axes of kernels, computed by hand."""

import math

import keras
import numpy as np
import pytest

from keras_sparse._keras import layers_of
from keras_sparse.compute.kernel_axes import dead_channels, input_axes, output_axes
from keras_sparse.tracing.multiply_adds import count_multiply_adds

pytestmark = pytest.mark.backend
layers = keras.layers


def uses(model, input_shape=None):
    """How often one example uses each kernel; None where that is not known."""
    counted = count_multiply_adds(model, input_shape)
    if counted.why_unknown is not None:
        return None
    kernels = [v for v in model.weights if v.name.endswith("kernel")]
    numbers = [(counted.of_weights[id(v)], math.prod(v.shape)) for v in kernels]
    return [None if n is None else n / size for n, size in numbers]


@pytest.mark.parametrize(
    ("make", "shape", "expected"),
    [
        (lambda: layers.Dense(4), (8,), [1]),
        (lambda: layers.Dense(4), (5, 8), [5]),  # over the five rows
        (lambda: layers.Conv1D(4, 3), (8, 2), [6]),
        (lambda: layers.Conv2D(4, 3), (8, 8, 2), [36]),  # 6 x 6
        (lambda: layers.Conv2D(4, 3, padding="same"), (8, 8, 2), [64]),
        (lambda: layers.Conv2D(4, 3, strides=2, padding="same"), (8, 8, 2), [16]),
        (lambda: layers.Conv2D(4, 3, strides=(1, 2)), (8, 8, 2), [18]),  # 6 x 3
        (lambda: layers.Conv2D(4, 3, dilation_rate=2), (8, 8, 2), [16]),
        (lambda: layers.Conv2D(4, 3, groups=2), (8, 8, 4), [36]),  # the kernel has 2 inputs only
        (lambda: layers.Conv3D(4, 3), (4, 4, 4, 2), [8]),
        (
            lambda: layers.Conv2DTranspose(4, 3, strides=2),
            (5, 5, 2),
            [25],
        ),  # each input is spread by the whole kernel
        (lambda: layers.Conv1DTranspose(4, 3), (7, 2), [7]),
        (lambda: layers.SeparableConv2D(4, 3), (8, 8, 2), [36, 36]),
        (lambda: layers.EinsumDense("abc,cd->abd", (5, 4)), (5, 8), [5]),
        (lambda: layers.EinsumDense("abc,cde->abde", (5, 2, 4)), (5, 8), [5]),
        (lambda: layers.LSTM(4), (5, 8), [5, 5]),
        (lambda: layers.GRU(4, return_sequences=True), (6, 8), [6, 6]),
        (lambda: layers.Bidirectional(layers.SimpleRNN(4)), (5, 8), [5, 5, 5, 5]),
        (lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)]), (5, 8), [5, 5, 5, 5]),
        (lambda: layers.TimeDistributed(layers.Dense(4)), (5, 8), [5]),
        (lambda: layers.LSTM(4, unroll=True), (5, 8), [5, 5]),
        (lambda: layers.ConvLSTM1D(4, 3, padding="same"), (5, 8, 2), [5 * 8, 5 * 8]),
        (lambda: layers.ConvLSTM2D(4, 3, padding="same"), (3, 8, 8, 2), [3 * 64, 3 * 64]),
        (lambda: layers.ConvLSTM3D(4, 3, padding="same"), (2, 4, 4, 4, 2), [2 * 64, 2 * 64]),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 2), [36]),
        (lambda: layers.Conv1D(4, 3, dilation_rate=2, padding="causal"), (9, 2), [9]),
        (lambda: layers.SpectralNormalization(layers.Dense(4)), (8,), [1]),
    ],
)
def test_uses_of_one_layer(make, shape, expected):
    assert uses(keras.Sequential([keras.Input(shape), make()])) == expected


def test_uses_of_attention():
    inputs = keras.Input((5, 8))
    memory = keras.Input((7, 8))
    model = keras.Model([inputs, memory], layers.MultiHeadAttention(2, 4)(inputs, memory))
    assert uses(model) == [5, 7, 7, 5]  # query, key, value, output: rows of each


def test_a_shared_layer_counts_each_call():
    inputs, shared = keras.Input((8,)), layers.Dense(8)
    assert uses(keras.Model(inputs, shared(shared(inputs)))) == [2]


def test_nested_models():
    body = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(4, 3), layers.Flatten()])
    inputs = keras.Input((8, 8, 2))
    assert uses(keras.Model(inputs, layers.Dense(3)(body(inputs)))) == [36, 1]


def test_inputs_by_name():
    inputs = {"left": keras.Input((8,), name="left"), "right": keras.Input((4,), name="right")}
    model = keras.Model(
        inputs,
        layers.Concatenate()([layers.Dense(2)(inputs["left"]), layers.Dense(2)(inputs["right"])]),
    )
    assert uses(model) == [1, 1]


def test_integer_inputs():
    model = keras.Sequential(
        [keras.Input((5,), dtype="int32"), layers.Embedding(10, 4), layers.Dense(3)]
    )
    assert uses(model) == [5]  # the Dense layer's, a row per number


class Cell(layers.Layer):
    """A cell of one's own, of plain products."""

    state_size = 8

    def build(self, _):
        self.kernel = self.add_weight(shape=(8, 8), name="kernel")
        self.recurrent_kernel = self.add_weight(shape=(8, 8), name="recurrent_kernel")

    def call(self, x, states):
        h = keras.ops.tanh(x @ self.kernel + states[0] @ self.recurrent_kernel)
        return h, [h]


def test_a_cell_of_ones_own():
    assert uses(keras.Sequential([keras.Input((10, 8)), layers.RNN(Cell())])) == [10, 10]


class Attention(layers.Layer):
    """One kernel, cut into three, and products of data by data."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3 * shape[-1]), name="kernel")

    def call(self, x):
        query, key, value = keras.ops.split(x @ self.kernel, 3, axis=-1)
        return keras.ops.softmax(query @ keras.ops.transpose(key, (0, 2, 1))) @ value


@pytest.mark.parametrize(
    ("make", "other"),
    [
        (lambda a, b: layers.MultiHeadAttention(2, 4)(a, b), 2 * 2 * 5 * 7 * 4),
        (lambda a, b: layers.GroupQueryAttention(3, 4, 2)(a, b), 2 * 4 * 5 * 7 * 3),
        (lambda a, b: layers.Attention()([a, b]), 2 * 5 * 7 * 8),
        (lambda a, b: layers.AdditiveAttention(use_scale=False)([a, b]), 5 * 7 * 8),
        (lambda a, b: Attention()(a), 2 * 5 * 5 * 8),
        (lambda a, b: layers.Dot((2, 2))([a, b]), 5 * 7 * 8),
    ],
)
def test_products_of_data_by_data(make, other):
    inputs, memory = keras.Input((5, 8)), keras.Input((7, 8))
    assert count_multiply_adds(keras.Model([inputs, memory], make(inputs, memory))).other == other


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution, self.head = layers.Conv2D(4, 3), layers.Dense(3)

    def call(self, x):
        return self.head(keras.ops.mean(self.convolution(x), axis=(1, 2)))


def test_a_subclassed_model_is_counted_as_it_was_called():
    model = Subclassed()
    model(np.zeros((1, 8, 8, 2), "float32"))
    assert uses(model) == [36, 1]
    assert uses(model, (None, 10, 10, 2)) == [64, 1]
    assert uses(model, (32, 10, 10, 2)) == [64, 1]  # of one example, whatever the batch
    assert uses(model, (10, 10, 2)) == [64, 1]


@pytest.mark.parametrize("shape", [(None, 12, 8), (12, 8), [12, 8], (4, 12, 8)])
def test_sequences_of_any_length_need_a_shape(shape):
    model = keras.Sequential([keras.Input((None, 8)), layers.Dense(4)])
    assert uses(model) is None
    assert uses(model, shape) == [12]


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        (lambda one, other: [one, other], [(None, 5, 8), (7, 8)]),
        (lambda one, other: {"one": one, "other": other}, {"one": (5, 8), "other": (None, 7, 8)}),
        (lambda one, other: [one, other], {"other": (7, 8), "one": (5, 8)}),
    ],
)
def test_shapes_of_several_inputs(inputs, shape):
    one, other = keras.Input((None, 8), name="one"), keras.Input((None, 8), name="other")
    outputs = [layers.Dense(4)(one), layers.Dense(2)(other)]
    assert uses(keras.Model(inputs(one, other), outputs), shape) == [5, 7]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((12,), "must fit the model's"),
        ((None, 12, 9), "must fit the model's"),
        ([(12, 8), (12, 8)], "one shape for each of the 1 inputs"),
        ("12", "must be a shape"),
        ({}, "must be a shape"),
    ],
)
def test_a_shape_that_does_not_fit(shape, message):
    model = keras.Sequential([keras.Input((None, 8)), layers.Dense(4)])
    with pytest.raises(ValueError, match=f"`input_shape` .*{message}.*Received: input_shape="):
        count_multiply_adds(model, shape)


def test_a_batch_that_is_fixed():
    model = keras.Sequential(
        [keras.Input(batch_shape=(4, 5, 8)), layers.LSTM(3, stateful=True), layers.Dense(2)]
    )
    assert uses(model) == [5, 5, 1]
    with pytest.raises(ValueError, match="Its call on inputs of shape .*Received: .*batch=3"):
        count_multiply_adds(model, batch=3)


def test_texts():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("texts are for TensorFlow")
    vectorize = layers.TextVectorization(10, output_sequence_length=6, vocabulary=["a", "b"])
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), vectorize, layers.Embedding(10, 4), layers.Dense(3)]
    )
    assert uses(model) == [6]


def test_what_nobody_can_tell_is_not_known():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("Python functions in a graph are for TensorFlow")
    import tensorflow as tf

    class Hidden(layers.Layer):
        def build(self, _):
            self.kernel = self.add_weight(shape=(8, 8), name="kernel")

        def call(self, x):
            y = tf.py_function(lambda a, b: a @ b, [x, self.kernel], tf.float32)
            return tf.ensure_shape(y, x.shape)

    inputs = keras.Input((8,))
    assert uses(keras.Model(inputs, layers.Dense(2)(Hidden()(inputs)))) == [None, 1]


def test_the_model_is_left_as_it_was():
    model = keras.Sequential(
        [
            keras.Input(batch_shape=(2, 5, 8)),
            layers.LSTM(4, stateful=True, return_sequences=True),
            layers.BatchNormalization(),
            layers.GaussianNoise(1.0),
            layers.Dense(4, activity_regularizer="l2"),
        ]
    )
    model(np.ones((2, 5, 8), "float32"))
    state = {v.path: keras.ops.convert_to_numpy(v) for v in model.variables}
    losses, calls = len(model.losses), [layer.call for layer in layers_of(model)]
    uses(model)
    assert len(state) == len(model.variables) == 11  # states, moving statistics and a seed
    for variable in model.variables:
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), state[variable.path])
    assert len(model.losses) == losses
    assert [layer.call for layer in layers_of(model)] == calls
    assert not any("call" in vars(layer) for layer in layers_of(model))


def test_a_call_that_a_user_has_set_stays():
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8), layers.Dense(4)])
    first, second = model.layers
    mine = first.call = lambda inputs, training=None: keras.ops.matmul(2 * inputs, first.kernel)
    assert uses(model) == [1, 1]
    assert first.call is mine
    assert "call" not in vars(second)


@pytest.mark.parametrize(
    ("make", "shape", "inputs", "outputs"),
    [
        (lambda: layers.Dense(4), (8,), 8, 4),
        (lambda: layers.Conv2D(4, 3), (8, 8, 2), 2, 4),
        (lambda: layers.Conv2DTranspose(4, 3), (8, 8, 2), 2, 4),
        (lambda: layers.Conv1DTranspose(4, 3), (8, 2), 2, 4),
        (lambda: layers.EinsumDense("abc,cde->abde", (5, 2, 4)), (5, 8), 8, 8),
        (lambda: layers.EinsumDense("abcd,cde->abe", (5, 6)), (5, 2, 4), 8, 6),
        (lambda: layers.EinsumDense("...x,xy->...y", 6), (5, 4), 4, 6),
    ],
)
def test_channels_of_a_kernel(make, shape, inputs, outputs):
    layer = keras.Sequential([keras.Input(shape), make()]).layers[0]
    rank, sizes = len(layer.kernel.shape), np.array(layer.kernel.shape)
    assert sizes[list(input_axes(layer, rank))].prod() == inputs
    assert sizes[list(output_axes(layer, rank))].prod() == outputs


def test_dead_channels_by_hand():
    mask = np.array([[1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]], bool)
    assert dead_channels(mask, (0,)) == 2  # rows 1 and 3
    assert dead_channels(mask, (1,)) == 1  # column 1
    taps = np.zeros((3, 3, 2, 2), bool)
    taps[1, 2, 0, 1] = True
    assert (dead_channels(taps, (2,)), dead_channels(taps, (3,)), dead_channels(taps, (2, 3))) == (
        1,
        1,
        3,
    )
