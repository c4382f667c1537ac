"""Multiply-adds of all kinds of layers, and which axes of a kernel are channels: numbers by hand."""

import math

import keras
import numpy as np
import pytest

from keras_sparse._keras import layers_of
from keras_sparse.kernel_axes import dead_channels, input_axes, output_axes
from keras_sparse.multiply_adds import count_multiply_adds

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
        (lambda: layers.Conv2DTranspose(4, 3, strides=2), (5, 5, 2), [25]),  # each input is spread by the whole kernel
        (lambda: layers.Conv1DTranspose(4, 3), (7, 2), [7]),
        (lambda: layers.SeparableConv2D(4, 3), (8, 8, 2), [36, 36]),
        (lambda: layers.EinsumDense("abc,cd->abd", (5, 4)), (5, 8), [5]),
        (lambda: layers.EinsumDense("abc,cde->abde", (5, 2, 4)), (5, 8), [5]),
        (lambda: layers.LSTM(4), (5, 8), [5, 5]),
        (lambda: layers.GRU(4, return_sequences=True), (6, 8), [6, 6]),
        (lambda: layers.Bidirectional(layers.SimpleRNN(4)), (5, 8), [5, 5, 5, 5]),
        (lambda: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)]), (5, 8), [5, 5, 5, 5]),
        (lambda: layers.TimeDistributed(layers.Dense(4)), (5, 8), [5]),
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
    model = keras.Model(inputs, layers.Concatenate()([layers.Dense(2)(inputs["left"]), layers.Dense(2)(inputs["right"])]))
    assert uses(model) == [1, 1]


def test_integer_inputs():
    model = keras.Sequential([keras.Input((5,), dtype="int32"), layers.Embedding(10, 4), layers.Dense(3)])
    assert uses(model) == [5]  # the Dense layer's, a row per number


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.convolution, self.head = layers.Conv2D(4, 3), layers.Dense(3)

    def call(self, x):
        return self.head(keras.ops.mean(self.convolution(x), axis=(1, 2)))


def test_a_subclassed_model_needs_an_input_shape():
    model = Subclassed()
    model(np.zeros((1, 8, 8, 2), "float32"))
    assert uses(model) is None
    assert uses(model, (None, 8, 8, 2)) == [36, 1]
    assert uses(model, (32, 10, 10, 2)) == [64, 1]  # of one example, whatever the batch


def test_sequences_of_any_length_need_one():
    model = keras.Sequential([keras.Input((None, 8)), layers.Dense(4)])
    assert uses(model) is None
    assert uses(model, (None, 12, 8)) == [12]


def test_the_model_is_left_as_it_was():
    model = keras.Sequential([keras.Input((8, 8, 2)), layers.Conv2D(4, 3), layers.BatchNormalization()])
    before, calls = model.get_weights(), [layer.call for layer in layers_of(model)]
    uses(model)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [layer.call for layer in layers_of(model)] == calls
    assert not any("call" in vars(layer) for layer in layers_of(model))


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
    assert (dead_channels(taps, (2,)), dead_channels(taps, (3,)), dead_channels(taps, (2, 3))) == (1, 1, 3)
