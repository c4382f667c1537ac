"""Layers and models of users' own, as hard to copy as they come: lists, closures, own steps."""

import functools
import threading
import weakref

import keras
import numpy as np

L = keras.layers


def sequence_of(*layers, shape=(8,), name="net"):
    return keras.Sequential([keras.Input(shape), *layers], name=name)


class OwnStep(keras.Model):
    """A Functional model with a train step, a metric and attributes of its own."""

    def train_step(self, data):
        logs = super().train_step(data)
        self.tracker.update_state(7.0)
        return {**logs, "own": self.tracker.result()}


class Block(L.Layer):
    """Layers in attributes, lists, dicts, tuples and closures."""

    def __init__(self, units):
        super().__init__()
        self.first, self.rest = L.Dense(units), [L.Dense(units), (L.Dense(units),)]
        self.by_name = {"x": L.Dense(units), "more": [(L.Dense(units), "named")]}
        self.call_first = lambda x: self.first(x)
        self.partial, self.reference = (
            functools.partial(self.scaled, by=2.0),
            weakref.ref(self.first),
        )
        self.lock, self.constant = threading.Lock(), np.arange(3.0)

    def scaled(self, x, by):
        return self.first(x) * by

    def call(self, x):
        x = self.rest[0](self.call_first(x)) + self.rest[1][0](self.partial(x))
        return self.by_name["more"][0][0](self.by_name["x"](x)) + self.reference()(x)


class Subclassed(keras.Model):
    """A subclassed model: a list of blocks, a nested model, an untracked layer, tied weights."""

    def __init__(self):
        super().__init__()
        self.blocks = [Block(8), Block(8)]
        self.backbone, self.drop = sequence_of(L.Dense(8), name="backbone"), L.Dropout(0.5)
        self.conv, self.norm, self.head = (
            L.Conv2D(4, 3, padding="same"),
            L.BatchNormalization(),
            L.Dense(8, use_bias=False),
        )
        self.plain = type("Plain", (), {})()
        self.plain.layer = self.head

    def call(self, x, training=False):
        image = self.norm(self.conv(keras.ops.reshape(x, (-1, 2, 2, 2))), training=training)
        x = self.drop(x, training=training) + keras.ops.reshape(image[:, :, :, :2], (-1, 8))
        for block in self.blocks:
            x = block(x)
        return keras.ops.matmul(
            self.plain.layer(self.backbone(x)), keras.ops.transpose(self.head.kernel)
        )


class Cell(L.Layer):
    def __init__(self):
        super().__init__()
        self.state_size, self.dense = 8, L.Dense(8)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x, states):
        new = keras.ops.tanh(self.dense(x) + states[0])
        return new, [new]


class Incomplete(L.Layer):
    """A layer whose config lacks an argument in a slot, with a weight and another variable."""

    __slots__ = ("scale",)

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        object.__setattr__(self, "scale", scale)

    def build(self, shape):
        self.weight = self.add_weight(shape=(shape[-1],))
        self.calls = self.add_weight(shape=(), trainable=False, initializer="ones")

    def call(self, x):
        return x * self.scale * self.weight * self.calls

    def get_config(self):
        return super().get_config()


@keras.saving.register_keras_serializable("tests")
class Reader(L.Layer):
    """Attends from one sequence to another, each with its mask."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.attention = L.MultiHeadAttention(2, 4)
        self.supports_masking = True

    def build(self, shapes):
        self.attention.build(*shapes)
        self.built = True

    def call(self, inputs, mask=None):
        own, read = mask or (None, None)
        return self.attention(*inputs, query_mask=own, key_mask=read)


class TwoOptimizers(keras.Model):
    def __init__(self):
        super().__init__()
        self.one, self.two = (
            sequence_of(L.Dense(8), name="one"),
            sequence_of(L.Dense(3), name="two"),
        )

    def compile(self, one, two):
        super().compile()
        self.optimizer_of_one, self.optimizer_of_two = one, two

    def call(self, x):
        return self.two(self.one(x))
