"""One pass over an output gradient computes both gradients of a product, in graphs."""

import keras
import numpy as np
import pytest
from graphs import pairs_that_ran
from oracle import needs_ops

import keras_sparse as ks

pytestmark = needs_ops

OPS = {"conv": "KerasSparse>Conv2D", "matmul": "KerasSparse>MatMul"}


def pairs_that_run(run):
    """Types of the products of a graph that share a gradient, by pair."""
    return pairs_that_ran(run, "shared_gradient")


def operands(kind, seed=0, dtype="float32", out=24):
    """Inputs, kernel, mask, and a factor of each output."""
    rng = np.random.default_rng(seed)
    inputs, kernel, outputs = {
        "conv": ((5, 6, 7, 20), (3, 3, 20, out), (5, 6, 7, out)),
        "matmul": ((40, 33), (33, out), (40, out)),
    }[kind]
    values = [rng.standard_normal(shape).astype("float32") for shape in (inputs, kernel, outputs)]
    import tensorflow as tf

    inputs, kernel, factors = (tf.cast(value, dtype) for value in values)
    return inputs, kernel, tf.constant(rng.random(kernel.shape) < 0.3), factors


def product(kind, inputs, kernel, mask, wanted):
    flags = {"dense_weight_gradient": wanted, "implementation": "custom_op"}
    if kind == "matmul":
        return ks.ops.sparse_matmul(inputs, kernel, mask, **flags)
    return ks.ops.sparse_conv2d(inputs, kernel, mask, padding="same", **flags)


def step_of(kind, wanted=False):
    """A function: both gradients of sum(outputs * factors)."""
    import tensorflow as tf

    def step(inputs, kernel, mask, factors):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = product(kind, inputs, kernel, mask, wanted)
        return tape.gradient(outputs, (inputs, kernel), factors)

    return step


def assert_near(found, expected, tolerance=1e-5):
    for one, other in zip(found, expected, strict=True):
        one, other = (np.asarray(keras.ops.cast(value, "float32")) for value in (one, other))
        np.testing.assert_allclose(one, other, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("kind", OPS)
def test_a_graph_computes_both_gradients_at_once_and_the_values_are_those_of_two_products(
    kind, dtype
):
    import tensorflow as tf

    step, values = step_of(kind), operands(kind, dtype=dtype)
    graph = tf.function(step)
    pair = [f"{OPS[kind]}InputGradient", f"{OPS[kind]}KernelGradient"]
    assert pairs_that_run(lambda: graph(*values)) == [pair]
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    for seed in (0, 1, 2):  # the kernel gradient is written over that of the last step
        values = operands(kind, seed, dtype)
        by_inputs, by_kernel = graph(*values)
        assert_near((by_inputs, by_kernel), step(*values), tolerance)
        np.testing.assert_array_equal(by_kernel[~values[2]], 0)
        again = graph(*values)
        np.testing.assert_array_equal(by_kernel, again[1])


@pytest.mark.parametrize("kind", OPS)
def test_the_window_opens_and_closes_while_a_graph_runs(kind):
    """Open, all weights have gradients, and nothing is left for the next closed step."""
    import tensorflow as tf

    wanted = tf.Variable(False)
    step = tf.function(lambda *values: step_of(kind, wanted.value())(*values))
    for seed, is_open in enumerate((False, True, True, False, True, False)):
        wanted.assign(is_open)
        values = operands(kind, seed)
        found = step(*values)
        assert_near(found, step_of(kind, is_open)(*values))
        assert np.any(found[1][~values[2]]) == is_open


def test_two_gradients_of_one_product_keep_their_own_output_gradients():
    import tensorflow as tf

    inputs, kernel, mask, factors = operands("conv")

    def step(inputs, kernel):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch((inputs, kernel))
            outputs = product("conv", inputs, kernel, mask, False)
        one = tape.gradient(outputs, (inputs, kernel), factors)
        return *one, *tape.gradient(outputs, (inputs, kernel), tf.sin(factors))

    assert_near(tf.function(step)(inputs, kernel), step(inputs, kernel))


def test_gradients_of_gradients_are_those_of_eager_steps():
    import tensorflow as tf

    inputs, kernel, mask, factors = operands("conv")

    def step(inputs, kernel):
        with tf.GradientTape() as outer:
            outer.watch((inputs, kernel))
            with tf.GradientTape() as inner:
                inner.watch((inputs, kernel))
                outputs = product("conv", inputs, kernel, mask, False)
                loss = tf.reduce_sum(factors * outputs**2)
            by_inputs, by_kernel = inner.gradient(loss, (inputs, kernel))
            penalty = tf.reduce_sum(by_inputs**2) + tf.reduce_sum(by_kernel**2)
        return outer.gradient(penalty, (inputs, kernel))

    assert_near(tf.function(step)(inputs, kernel), step(inputs, kernel), 1e-4)


def test_steps_in_loops_and_in_branches_of_conditions_have_their_gradients():
    import tensorflow as tf

    inputs, kernel, mask, factors = operands("conv")
    step = step_of("conv")

    @tf.function
    def looped(kernel):
        for _ in tf.range(3):
            kernel -= 0.01 * step(inputs, kernel, mask, factors)[1]
        return kernel

    @tf.function
    def branched(condition):
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel))
            outputs = product("conv", inputs, kernel, mask, False)
        by_inputs, by_kernel = tape.gradient(outputs, (inputs, kernel), factors)
        return tf.cond(condition, lambda: tf.reduce_sum(by_inputs), lambda: 0.0), by_kernel

    @tf.function
    def one_branch(condition):
        zeros = lambda: (tf.zeros_like(inputs), tf.zeros_like(kernel))  # noqa: E731
        return tf.cond(condition, lambda: step(inputs, kernel, mask, factors), zeros)

    by_inputs, by_kernel = step(inputs, kernel, mask, factors)
    assert_near([looped(kernel)], [kernel - 0.03 * by_kernel])
    for condition in (tf.constant(True), tf.constant(False)):
        assert_near([branched(condition)[1]], [by_kernel])
    assert_near([branched(tf.constant(True))[0]], [tf.reduce_sum(by_inputs)], 1e-3)
    assert_near(one_branch(tf.constant(True)), (by_inputs, by_kernel))
    assert not np.any(one_branch(tf.constant(False))[1])


def test_a_mask_that_changes_between_steps_changes_the_gradient():
    import tensorflow as tf

    inputs, kernel, active, factors = operands("conv")
    mask, step = tf.Variable(active), step_of("conv")
    graph = tf.function(lambda: step(inputs, kernel, mask, factors))
    for _ in range(3):
        assert_near(graph(), step(inputs, kernel, mask, factors))
        mask.assign(~mask)


def network(kind, policy):
    """Convolutions with strides, one tap, a branch; and dense layers; sparse."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = x = keras.Input((8, 8, 3))
    for filters, size, strides in ((8, 3, 1), (16, 3, 2), (16, 1, 1)):
        x = layers.Conv2D(filters, size, strides, padding="same", dtype=policy)(x)
        x = layers.ReLU(dtype=policy)(layers.BatchNormalization(dtype=policy)(x))
    x = layers.add([x, layers.Conv2D(16, 3, padding="same", dtype=policy)(x)])
    outputs = layers.Dense(4, dtype="float32")(layers.Flatten(dtype=policy)(x))
    functional = keras.Model(inputs, outputs)
    if kind == "functional":
        return functional

    class Subclassed(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = functional

        def call(self, inputs, training=None):
            return self.inner(inputs, training=training)

    return Subclassed()


@pytest.mark.parametrize("name", ["dense", "conv", "transposed"])
def test_layers_compute_both_gradients_at_once(name):
    """A transposed convolution is an input gradient first: its gradients are two other products."""
    import tensorflow as tf

    layer, shape = {
        "dense": (ks.layers.SparseDense(24), (16,)),
        "conv": (ks.layers.SparseConv2D(24, 3, padding="same"), (6, 6, 16)),
        "transposed": (ks.layers.SparseConv2DTranspose(24, 3, padding="same"), (6, 6, 16)),
    }[name]
    layer.implementation = "custom_op"
    model = keras.Sequential([keras.Input(shape), keras.layers.Dense(16), layer])
    layer.set_mask(np.random.default_rng(0).random(layer.kernel.shape) < 0.2)
    inputs = tf.random.stateless_normal((32, *shape), (0, 0))

    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    step = tf.function(gradients)
    pairs = pairs_that_run(lambda: step(inputs))
    op = OPS["matmul" if name == "dense" else "conv"]
    expected = [[f"{op}InputGradient", f"{op}KernelGradient"]]
    assert pairs == ([] if name == "transposed" else expected)
    assert_near(step(inputs), gradients(inputs))


@pytest.mark.parametrize(
    ("kind", "policy", "growth_batch"),
    [("functional", "float32", 1.0), ("subclassed", "mixed_bfloat16", 0.5)],
)
def test_a_training_is_the_same_in_graphs_and_eagerly(kind, policy, growth_batch):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(32, 8, 8, 3)), rng.integers(4, size=32)
    losses = []
    for eagerly in (False, True):
        model = network(kind, policy)
        model(images[:1])
        model = ks.sparsify(model, implementation="custom_op")
        sgd = keras.optimizers.SGD(0.05, momentum=0.9)
        settings = {"growth_window": 1, "growth_batch": growth_batch, "seed": 0}
        optimizer = ks.SparseMomentum(sgd, density=0.4, **settings)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, run_eagerly=eagerly)
        fit = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}
        history = model.fit(images, labels, callbacks=[ks.UpdateMasks()], **fit)
        losses.append(history.history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-3 if policy == "float32" else 3e-2)
