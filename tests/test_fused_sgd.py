"""SGD in one operation is Keras' SGD, and masks weights in every step."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from helpers import MasksHold

import keras_sparse as ks
from keras_sparse._keras import to_numpy
from keras_sparse.training import fused_sgd
from keras_sparse.training.fused_sgd import fused_steps

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
    step = tf.function(
        lambda: optimizer.apply(
            [tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
        )
    )
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


# --- the operation that masks, too

compiled_ops = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow" or not ks.ops.available(), reason="no custom ops here"
)


def apply_masked(weight, momentum, mask, gradient, rate=0.5, decay=0.25, nesterov=False):
    from keras_sparse.compute.library import library

    library().keras_sparse_apply_masked_momentum(
        weight.handle, momentum.handle, mask, gradient, rate, decay, use_nesterov=nesterov
    )


@compiled_ops
@pytest.mark.parametrize(
    ("nesterov", "expected"), [(False, [9.0, 0.0, 9.5]), (True, [7.75, 0.0, 10.375])]
)
@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_a_step_by_hand(how, nesterov, expected):
    import tensorflow as tf

    weight, momentum = tf.Variable([10.0, 10.0, 10.0]), tf.Variable([4.0, 4.0, -4.0])
    mask, gradient = tf.constant([True, False, True]), tf.constant([4.0, -2.0, -1.0])

    def step():
        apply_masked(weight, momentum, mask, gradient, nesterov=nesterov)

    before = tf.identity(weight), tf.identity(momentum)
    (step if how == "eager" else tf.function(step, jit_compile=how == "xla"))()
    np.testing.assert_array_equal(momentum, [-1.0, 2.0, -0.5])
    np.testing.assert_array_equal(weight, expected)
    assert not np.signbit(weight.numpy()[1])
    np.testing.assert_array_equal(before[0], [10.0, 10.0, 10.0])  # what was read stays
    np.testing.assert_array_equal(before[1], [4.0, 4.0, -4.0])


@compiled_ops
@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_wrong_arguments_are_errors(how):
    import tensorflow as tf

    weight, momentum, mask, gradient = (
        tf.Variable([1.0, 2.0]),
        tf.Variable([0.0, 0.0]),
        [True, False],
        [1.0, 1.0],
    )
    doubles, three = tf.Variable([1.0, 2.0], dtype="float64"), tf.Variable([1.0, 2.0, 3.0])
    empty = tf.raw_ops.VarHandleOp(
        dtype=tf.float32, shape=[2], shared_name=f"empty_{how}", name="empty"
    )

    class Empty:
        handle = empty

    wrong = [
        ((weight, three, mask, gradient), {}),
        ((weight, momentum, [True], gradient), {}),
        ((weight, momentum, mask, [[1.0, 1.0]]), {}),
        ((weight, momentum, mask, gradient), {"rate": [1.0]}),
        ((weight, momentum, mask, gradient), {"decay": [1.0]}),
        ((doubles, momentum, mask, gradient), {}),
        ((weight, doubles, mask, gradient), {}),
        ((Empty, momentum, mask, gradient), {}),
        ((weight, Empty, mask, gradient), {}),
    ]
    for arguments, rates in [
        *wrong,
        *([] if how == "xla" else [((weight, weight, mask, gradient), {})]),
    ]:
        step = functools.partial(apply_masked, *arguments, **rates)
        with pytest.raises(
            (ValueError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)
        ):
            (step if how == "eager" else tf.function(step, jit_compile=how == "xla"))()
    np.testing.assert_array_equal(weight, [1.0, 2.0])
    np.testing.assert_array_equal(momentum, [0.0, 0.0])


def trained(monkeypatch, fused, inner, constraint=None, layers=True, **arguments):
    """All variables after four steps with an open growth window, six with a closed, an update."""
    if not fused:
        monkeypatch.setattr(
            "keras_sparse.training.fused_sgd._can_mask", lambda optimizer, variable: False
        )
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((20,)),
            keras.layers.Dense(30, activation="relu", kernel_constraint=constraint),
            keras.layers.Dense(4),
        ]
    )
    model = ks.sparsify(model) if layers else model
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(**inner), density=0.25, prune_rate=0.3)
    model.compile(optimizer, "mse", **arguments)
    optimizer.build(model)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(320, 20)).astype("float32"), rng.normal(size=(320, 4)).astype("float32")
    options = {"batch_size": 32, "verbose": 0, "shuffle": False}
    for steps, window in ((4, True), (6, False), (2, True)):
        optimizer.open_growth_window(window)
        model.fit(x[: 32 * steps], y[: 32 * steps], callbacks=[MasksHold()], **options)
    optimizer.update_masks()
    model.fit(x[:64], y[:64], callbacks=[MasksHold()], **options)
    monkeypatch.undo()
    for weight, mask in zip(optimizer.masked_variables, optimizer.mask_variables, strict=True):
        assert not to_numpy(weight)[~to_numpy(mask)].any()
    return [to_numpy(v) for v in [*model.variables, *optimizer.variables]]


MOMENTUM = {"learning_rate": 0.05, "momentum": 0.9}


@compiled_ops
@pytest.mark.filterwarnings("ignore:The masks of .* did not change")
@pytest.mark.parametrize(
    ("inner", "arguments"),
    [
        (MOMENTUM, {"jit_compile": False}),
        (MOMENTUM, {"jit_compile": True, "layers": False}),
        (MOMENTUM, {"jit_compile": False, "layers": False}),
        (MOMENTUM, {"jit_compile": False, "steps_per_execution": 2}),
        (MOMENTUM, {"jit_compile": False, "run_eagerly": True}),
        (MOMENTUM, {"jit_compile": False, "constraint": "max_norm"}),
        (
            {**MOMENTUM, "nesterov": True, "weight_decay": 0.01, "clipnorm": 1.0},
            {"jit_compile": False},
        ),
        ({**MOMENTUM, "gradient_accumulation_steps": 2}, {"jit_compile": False}),
        (
            {**MOMENTUM, "gradient_accumulation_steps": 2, "nesterov": True},
            {"jit_compile": True, "layers": False},
        ),
        ({**MOMENTUM, "loss_scale_factor": 8.0}, {"jit_compile": False}),
        ({**MOMENTUM, "use_ema": True, "ema_overwrite_frequency": 3}, {"jit_compile": False}),
    ],
)
def test_a_training_is_that_of_two_passes(monkeypatch, inner, arguments):
    expected, found = (trained(monkeypatch, fused, inner, **arguments) for fused in (False, True))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@compiled_ops
def test_weights_are_masked_once(monkeypatch):
    import tensorflow as tf

    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(4),
            keras.layers.Dense(4, kernel_constraint="non_neg"),
        ]
    )
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5)
    optimizer.build(model)
    multiplied = []
    monkeypatch.setattr(
        "keras_sparse.training.masked_steps.apply_masks",
        lambda weights: multiplied.extend(one.index for one in weights),
    )
    step = tf.function(
        lambda: optimizer.apply(
            [tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
        )
    )
    step.get_concrete_function()
    assert [one.index for one in optimizer.masked_weights] == [0, 2]
    assert multiplied == [2]  # the constraint comes after the step


@compiled_ops
def test_the_inner_optimizer_on_its_own_masks_nothing():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5)
    optimizer.build(model)
    optimizer.inner_optimizer.apply(
        [keras.ops.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
    )
    assert to_numpy(model.layers[0].kernel).all()
    optimizer.apply(
        [keras.ops.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
    )
    assert (to_numpy(model.layers[0].kernel) != 0).mean() == 0.5
    assert "update_step" not in vars(optimizer.inner_optimizer)  # it is left as it was


def test_a_step_of_the_users_own_is_kept():
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.update_step = own = lambda gradient, variable, learning_rate: None
    with fused_steps(optimizer):
        assert optimizer.update_step is own
    assert optimizer.update_step is own


@compiled_ops
def test_a_strategy_keeps_two_passes():
    import tensorflow as tf

    strategy = tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
        optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), density=0.5)
        optimizer.build(model)
        step = tf.function(
            lambda: optimizer.apply(
                [tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
            )
        )
        operations = [
            op.type
            for op in tf.function(lambda: strategy.run(step))
            .get_concrete_function()
            .graph.get_operations()
        ]
    assert "KerasSparse>ApplyMaskedMomentum" not in operations


@compiled_ops
def test_a_weight_that_was_made_before_a_strategy_keeps_two_passes_in_its_scope():
    import tensorflow as tf

    optimizer = keras.optimizers.SGD(momentum=0.9)
    weight, strategy = keras.Variable([1.0]), tf.distribute.OneDeviceStrategy("CPU:0")
    with strategy.scope():
        assert not fused_sgd._can_mask(optimizer, weight)
    assert fused_sgd._can_mask(optimizer, weight)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", True), ("float16", False)])
def test_only_float32_weights_are_stepped_and_masked_at_once(dtype, expected):
    optimizer, variable = keras.optimizers.SGD(momentum=0.9), keras.Variable([1.0], dtype=dtype)
    assert fused_sgd._can_mask(optimizer, variable) is expected
    averaged = keras.optimizers.SGD(momentum=0.9, use_ema=True)
    assert fused_sgd._can_mask(averaged, variable) is False
    variable.constraint = keras.constraints.NonNeg()
    assert fused_sgd._can_mask(optimizer, variable) is False
