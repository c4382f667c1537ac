"""The models, and the layers that TPUs refuse, of the tests of tpu_check."""

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_custom_call

import keras_sparse as ks

SHAPE, CLASSES = (8, 8, 16), 4


def network(*more, norm=True):
    """A convolution, batch normalization if asked for, these layers, and a Dense layer."""
    body = [
        keras.layers.Conv2D(16, 3, name="conv"),
        *([keras.layers.BatchNormalization(name="norm")] if norm else []),
        keras.layers.ReLU(),
    ]
    return keras.Sequential(
        [
            keras.Input(SHAPE),
            *body,
            *more,
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, name="head"),
        ]
    )


def compiled(model, optimizer=None, density=0.25):
    """With SparseMomentum, unless the density is None, and two things to report."""
    optimizer = optimizer or keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)
    optimizer = optimizer if density is None else ks.SparseMomentum(optimizer, density)
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def with_policy(policy, make):
    """What ``make`` makes under a dtype policy; the policy is set back."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        return make()
    finally:
        keras.config.set_dtype_policy(before)


class Calls(keras.layers.Layer):
    """A layer that calls a function of its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def through_python(x):
    return tf.ensure_shape(tf.py_function(lambda y: y, [x], x.dtype), x.shape)


def through_strings(x):
    return x + tf.cast(tf.strings.length(tf.strings.as_string(tf.reduce_sum(x))), x.dtype)


def through_python_in_a_branch(x):
    return tf.cond(tf.reduce_sum(x) > 0, lambda: through_python(x), lambda: x)


def through_a_histogram(x):
    counts = tf.raw_ops.HistogramFixedWidth(
        values=tf.reshape(x, [-1]), value_range=[0.0, 1.0], nbins=4
    )
    return x + tf.cast(tf.reduce_sum(counts), x.dtype)


def printing(x):
    tf.print(tf.reduce_sum(x))
    return x


def through_a_foreign_call(x):
    total = tf.reduce_sum(x)
    return x + tf.stop_gradient(
        xla_custom_call(
            args=[total],
            target_name="kernel_for_another_device",
            backend_config="",
            dtype=x.dtype,
            shape=[],
        )
    )


def through_64_gib(x):
    """Sorted, so that they have to be there all at once."""
    many = tf.random.stateless_uniform([2**14, 2**20], (1, 2)) + tf.reduce_sum(x)
    return x + tf.stop_gradient(tf.reduce_sum(tf.sort(many, axis=0)[2**13]))


STOCK = {
    "SGD, without masks": lambda: compiled(network(), density=None),
    "SGD": lambda: compiled(network()),
    "Adam": lambda: compiled(network(), keras.optimizers.Adam()),
    "mixed_bfloat16": lambda: with_policy("mixed_bfloat16", lambda: compiled(network())),
    "dropout": lambda: compiled(network(keras.layers.Dropout(0.2))),
}
SPARSE = {
    "sparse layers, SGD": lambda: compiled(ks.sparsify(network())),
    "sparse layers, Adam": lambda: compiled(ks.sparsify(network()), keras.optimizers.Adam()),
    "sparse layers, mixed_bfloat16": lambda: with_policy(
        "mixed_bfloat16", lambda: compiled(ks.sparsify(network()))
    ),
}
GOOD = STOCK | SPARSE
# {name: (model, the op that TPUs do not have)}
BAD = {
    "py_function": (lambda: compiled(network(Calls(through_python))), "EagerPyFunc"),
    "py_function in a branch": (
        lambda: compiled(network(Calls(through_python_in_a_branch))),
        "EagerPyFunc",
    ),
    "strings": (lambda: compiled(network(Calls(through_strings))), "AsString"),
    "histogram": (lambda: compiled(network(Calls(through_a_histogram))), "HistogramFixedWidth"),
    "print": (lambda: compiled(network(Calls(printing))), "StringFormat"),
}
# What only the TPU compiler can refuse.
REFUSED = {
    "a foreign call": (
        lambda: compiled(network(Calls(through_a_foreign_call))),
        "kernel_for_another_device",
    ),
    "64 GiB": (lambda: compiled(network(Calls(through_64_gib))), "memory"),
}
