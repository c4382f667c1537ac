"""Small models of every kind that Keras users build, for tests of what copies and converts them."""

import keras
import numpy as np
from own_classes import (
    Block,
    Cell,
    Incomplete,
    OwnStep,
    Reader,
    Subclassed,
    TwoOptimizers,
    sequence_of,
)

L = keras.layers
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(4, 8)).astype("float32")
IMAGES = RNG.normal(size=(4, 6, 6, 3)).astype("float32")
SEQUENCES = RNG.normal(size=(4, 5, 8)).astype("float32")
VIDEOS = RNG.normal(size=(2, 3, 6, 6, 3)).astype("float32")
WORDS = np.array([["a b"], ["b c"], ["c"], ["a"]])

SEVERAL = (("words", 3), ("read", 2))

KINDS = {}  # name: (function that makes the model, inputs)


def kind(inputs):
    def add(make):
        KINDS[make.__name__] = (make, inputs)
        return make

    return add


@kind(IMAGES)
def branches_and_shared_layers():
    image = keras.Input((6, 6, 3))
    x = L.Conv2D(
        4,
        1,
        name="stem",
        kernel_regularizer="l2",
        kernel_constraint="max_norm",
        activity_regularizer="l1",
    )(image)
    inner = keras.Sequential(
        [keras.Input((6, 6, 4)), L.Conv2D(4, 3), L.BatchNormalization()], name="inner"
    )
    x = L.Flatten()(inner(x) + keras.ops.relu(inner(-x)))
    shared = L.Dense(8, name="shared")
    return keras.Model(
        image, {"a": shared(x), "b": L.Dense(2, trainable=False)(shared(2 * x)[:, :5])}
    )


@kind({"a": ROWS, "b": SEQUENCES})
def several_inputs_by_name():
    a, b = keras.Input((8,), name="a"), keras.Input((5, 8), name="b")
    return keras.Model({"a": a, "b": b}, [L.Dense(3)(a), L.Dense(2)(L.Flatten()(b))])


@kind(ROWS)
def functional_subclass():
    inputs = keras.Input((8,))
    model = OwnStep(inputs, L.Dense(3)(L.Dense(6, "relu")(inputs)))
    model.tracker, model.extra = keras.metrics.Mean(name="own"), {"settings": [1, 2]}
    return model


@kind(ROWS)
def functional_subclass_with_arguments():
    class Net(keras.Model):
        def __init__(self, units):
            inputs = keras.Input((8,))
            super().__init__(inputs, L.Dense(3)(L.Dense(units)(inputs)))
            self.units = units

    return Net(6)


@kind(ROWS)
def custom_block():
    return sequence_of(Block(8), L.Dense(3))


@kind(ROWS)
def subclassed():
    model = Subclassed()
    model(ROWS)
    return model


@kind(VIDEOS)
def time_distributed():
    return sequence_of(
        L.TimeDistributed(L.Conv2D(20, 3)),
        L.GlobalAveragePooling3D(),
        L.Dense(2),
        shape=(3, 6, 6, 3),
    )


@kind(ROWS)
def spectral_normalization():
    return sequence_of(L.SpectralNormalization(L.Dense(20)), L.Dense(2))


@kind(SEQUENCES)
def recurrent_with_mask():
    return sequence_of(L.Masking(), L.Bidirectional(L.LSTM(16)), L.Dense(2), shape=(5, 8))


@kind({"words": np.array([[1, 2, 0], [3, 0, 0]]), "read": np.array([[2, 1], [3, 0]])})
def masks_of_several_inputs():
    words, read = (keras.Input((n,), dtype="int32", name=name) for name, n in SEVERAL)
    embedded = [L.Embedding(4, 16, mask_zero=True)(one) for one in (words, read)]
    return keras.Model([words, read], L.Dense(2)(Reader()(embedded)))


@kind(SEQUENCES)
def own_cells():
    return sequence_of(L.RNN(L.StackedRNNCells([L.GRUCell(16), Cell()])), L.Dense(2), shape=(5, 8))


@kind(SEQUENCES)
def stateful():
    return keras.Sequential(
        [keras.Input(batch_shape=(4, 5, 8)), L.LSTM(16, stateful=True), L.Dense(2)]
    )


@kind(SEQUENCES)
def attention():
    inputs = keras.Input((5, 8))
    return keras.Model(inputs, L.Dense(2)(L.MultiHeadAttention(2, 4)(inputs, inputs)))


@kind(ROWS)
def with_lambda():
    factor = 3.0
    return sequence_of(L.Dense(8), L.Lambda(lambda x: x * factor, name="twice"), L.Dense(2))


@kind(ROWS + 50)
def adapted():
    layers = [L.Normalization(), L.Normalization(invert=True), L.Discretization(num_bins=4)]
    for layer in layers:
        layer.adapt(ROWS + 50)
    return sequence_of(*layers, L.CategoryEncoding(4, "multi_hot"), L.Dense(2))


@kind(WORDS)
def vocabularies():
    inputs = keras.Input((1,), dtype="string")
    text, words = (
        L.TextVectorization(10, output_sequence_length=4),
        L.StringLookup(output_mode="multi_hot"),
    )
    text.adapt(WORDS)
    words.adapt(WORDS)
    numbers = L.IntegerLookup(vocabulary=[3, 4], output_mode="multi_hot")(text(inputs))
    embedded = L.Flatten()(L.Embedding(10, 4)(text(inputs)))
    return keras.Model(
        inputs, L.Dense(2)(keras.ops.concatenate([words(inputs), numbers, embedded], -1))
    )


@kind(IMAGES)
def augmented():
    layers = [
        L.Rescaling(0.5),
        L.RandomFlip(seed=1),
        L.RandomRotation(0.1),
        L.Conv2D(20, 3),
        L.GaussianNoise(0.1),
    ]
    return sequence_of(*layers, L.GlobalMaxPooling2D(), L.Dense(2), shape=(6, 6, 3))


@kind(ROWS)
def incomplete_config():
    return sequence_of(Incomplete(2.5), L.Dense(2))


@kind(ROWS)
def frozen_in_part():
    inner = sequence_of(L.Dense(6), L.Dense(5), name="inner")
    inner.layers[0].trainable = False
    model = sequence_of(inner, L.Dense(4), L.Dense(2))
    model.layers[1].trainable = False
    return model


@kind(ROWS)
def policies():
    return sequence_of(L.Dense(6, dtype="mixed_bfloat16"), L.Dense(4), L.Dense(2, dtype="float16"))


@kind(ROWS)
def trained():
    model = sequence_of(L.Dense(6, "relu"), L.Dense(2))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(ROWS, ROWS[:, :2], verbose=0)
    return model


@kind(ROWS)
def part_of_a_model():
    inputs = keras.Input((8,))
    middle = L.Dense(8)(inputs)
    keras.Model(inputs, L.Dense(9)(middle))
    return keras.Model(middle, L.Dense(3)(L.Dense(7)(middle)))


@kind(ROWS)
def two_optimizers():
    model = TwoOptimizers()
    model(ROWS)
    model.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    model.optimizer_of_one.build(model.one.trainable_variables)
    return model
