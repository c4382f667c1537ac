"""SGD in one operation is Keras' SGD."""

import contextlib

import keras
import numpy as np
import pytest
from helpers import apply_ones

import keras_sparse as ks
from keras_sparse._keras import to_numpy
from keras_sparse.training.fused_steps import fused_steps

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the operation is TensorFlow's"
)


def after_three_steps(settings, dtype, fuse):
    rng = np.random.default_rng(0)
    variables = [keras.Variable(rng.normal(size=shape), dtype=dtype) for shape in ((4, 3), (5,))]
    optimizer = keras.optimizers.SGD(0.1, **settings)
    for _ in range(3):
        gradients = [
            keras.ops.convert_to_tensor(rng.normal(size=v.shape), dtype=dtype) for v in variables
        ]
        with fused_steps(optimizer) if fuse else contextlib.nullcontext():
            optimizer.apply(gradients, variables)
    assert "update_step" not in vars(optimizer)
    return [to_numpy(v).astype("float32") for v in [*variables, *optimizer.variables]]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "clipnorm": 1.0},
        {"momentum": 0.0},
    ],
)
def test_values_are_those_of_keras(settings, dtype):
    for expected, found in zip(
        after_three_steps(settings, dtype, fuse=False),
        after_three_steps(settings, dtype, fuse=True),
        strict=True,
    ):
        np.testing.assert_allclose(
            found,
            expected,
            rtol=1e-6 if dtype == "float32" else 2e-2,
            atol=1e-6 if dtype == "float32" else 2e-2,
        )


def test_sparse_momentum_steps_by_one_operation():
    import tensorflow as tf

    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5)
    optimizer.build(model)
    step = tf.function(lambda: apply_ones(optimizer, model))
    operations = [op.type for op in step.get_concrete_function().graph.get_operations()]
    masked = int(bool(ks.ops.available()))
    assert operations.count("KerasSparse>ApplyMaskedMomentum") == masked
    assert operations.count("ResourceApplyKerasMomentum") == 2 - masked


def test_gradients_of_embeddings():
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), keras.layers.Embedding(10, 4), keras.layers.Dense(4)]
    )
    model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5), "mse")
    before = to_numpy(model.layers[0].embeddings)
    model.train_on_batch(np.array([[1, 2, 3]]), np.ones((1, 3, 4), "float32"))
    moved = (to_numpy(model.layers[0].embeddings) != before).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(moved), [1, 2, 3])


def test_a_step_of_the_users_own_is_kept():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.update_step = own = lambda gradient, variable, learning_rate: None
    with fused_steps(optimizer):
        assert optimizer.update_step is own
    assert optimizer.update_step is own


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: keras.optimizers.SGD(momentum=0.9), True),
        (lambda: keras.optimizers.SGD(), False),
        (lambda: keras.optimizers.RMSprop(momentum=0.9), False),
        (lambda: keras.optimizers.Adam(), True),
        (lambda: keras.optimizers.AdamW(), True),
        (lambda: keras.optimizers.Adam(amsgrad=True), False),
        (lambda: keras.optimizers.Nadam(), False),
    ],
)
def test_which_optimizers_step_by_one_operation(make, expected):
    optimizer = make()
    with fused_steps(optimizer):
        assert ("update_step" in vars(optimizer)) is expected


@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (keras.optimizers.Adam, {"beta_1": 0.5, "beta_2": 0.75, "epsilon": 0.5}),
        (keras.optimizers.AdamW, {"weight_decay": 0.1}),
        (keras.optimizers.SGD, {"momentum": 0.5, "nesterov": True}),
    ],
)
def test_active_weights_step_as_by_keras(cls, settings):
    rng, start = np.random.default_rng(0), np.random.default_rng(1).normal(size=(6, 4))
    own, other = (keras.Variable(start, name="kernel") for _ in range(2))
    optimizer, plain = cls(0.1, **settings), cls(0.1, **settings)
    masked = ks.SparseMomentum(optimizer, 0.5, gradient_momentum=0.9, initial_scale=None)
    masked.build([own])
    for _ in range(3):
        gradient = keras.ops.convert_to_tensor(rng.normal(size=(6, 4)), "float32")
        masked.apply([gradient], [own])
        plain.apply([gradient], [other])
    (mask,) = masked.masks.values()
    np.testing.assert_allclose(to_numpy(own), to_numpy(other) * mask, rtol=1e-5)
    for one, expected in zip(optimizer.variables, plain.variables, strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(expected), rtol=1e-5)
