"""What the compiled ops keep from call to call never shows in a result."""

import numpy as np
import pytest
from graphs import pairs_that_ran
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute.gradients import custom_ops

pytestmark = needs_ops
SHAPE = (40, 48)


def masks(number):
    rng = np.random.default_rng(0)
    return [rng.random(SHAPE) < 0.3 for _ in range(number)]


def operands(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((8, 40), "float32"), rng.standard_normal((8, 48), "float32")


@pytest.fixture
def kernel_gradient():
    """The op in a compiled function, which has one kernel for all calls."""
    import tensorflow as tf

    op = custom_ops().keras_sparse_mat_mul_kernel_gradient
    specs = [tf.TensorSpec((8, 40)), tf.TensorSpec(SHAPE, "bool"), tf.TensorSpec((8, 48))]
    return tf.function(op, specs)


def check(found, inputs, mask, gradient):
    np.testing.assert_allclose(found, inputs.T @ gradient * mask, rtol=0, atol=1e-4)
    assert not np.asarray(found)[~mask].any()


def test_a_gradient_that_somebody_holds_is_not_written_over(kernel_gradient):
    import tensorflow as tf

    mask = tf.constant(masks(1)[0])
    held = [kernel_gradient(operands(seed)[0], mask, operands(seed)[1]) for seed in range(4)]
    for seed, found in enumerate(held):
        check(found, operands(seed)[0], mask.numpy(), operands(seed)[1])


def test_a_gradient_is_written_over_the_last_one_with_the_same_bits(kernel_gradient):
    import tensorflow as tf

    mask = tf.constant(masks(1)[0])
    (x, dy), (other, gradient) = operands(0), operands(1)
    first = kernel_gradient(x, mask, dy).numpy()
    kernel_gradient(other, mask, gradient)
    assert (kernel_gradient(x, mask, dy).numpy() == first).all()


def test_an_operation_behind_the_gradient_may_change_its_memory():
    import tensorflow as tf

    op = custom_ops().keras_sparse_mat_mul_kernel_gradient

    @tf.function
    def plus_one(inputs, mask, gradient):
        return tf.nn.relu(op(inputs, mask, gradient) + 1.0)

    mask = tf.constant(masks(1)[0])
    for seed in range(3):
        x, dy = operands(seed)
        expected = np.maximum(x.T @ dy * mask.numpy() + 1, 0)
        np.testing.assert_allclose(plus_one(x, mask, dy), expected, rtol=0, atol=1e-4)


def test_every_mask_of_a_variable_is_seen(kernel_gradient):
    import tensorflow as tf

    both = masks(2)
    variable = tf.Variable(both[0])
    for step in range(6):
        mask = both[step % 2] if step < 4 else both[0]
        variable.assign(mask)
        x, dy = operands(step)
        check(kernel_gradient(x, variable, dy), x, mask, dy)


def test_a_mask_that_changes_inside_of_the_compiled_step_is_seen():
    import tensorflow as tf

    both = masks(2)
    variable = tf.Variable(both[0])
    functions = custom_ops()

    @tf.function
    def step(inputs, kernel, other):
        before = functions.keras_sparse_mat_mul(inputs, kernel, variable, False)
        variable.assign(other)
        return before, functions.keras_sparse_mat_mul(inputs, kernel, variable, False)

    x, kernel = operands(0)[0], np.random.default_rng(2).standard_normal(SHAPE, "float32")
    for i in range(4):
        before, after = step(x, kernel, both[(i + 1) % 2])
        np.testing.assert_allclose(before, x @ (kernel * both[i % 2]), rtol=0, atol=1e-4)
        np.testing.assert_allclose(after, x @ (kernel * both[(i + 1) % 2]), rtol=0, atol=1e-4)


def test_a_mask_of_which_single_elements_are_written_is_seen(kernel_gradient):
    import tensorflow as tf

    mask = masks(1)[0]
    variable = tf.Variable(mask)
    for step in range(3):
        x, dy = operands(step)
        check(kernel_gradient(x, variable, dy), x, mask, dy)
        mask = mask.copy()
        mask[step, step] = not mask[step, step]
        variable.scatter_nd_update([[step, step]], [mask[step, step]])


# --- a kernel that nobody trains: the op of few rows reads its active weights once


@pytest.fixture
def product():
    """The op in a compiled function, for batches of up to 16 rows."""
    import tensorflow as tf

    op = custom_ops().keras_sparse_mat_mul
    specs = [tf.TensorSpec((None, 40)), tf.TensorSpec(SHAPE), tf.TensorSpec(SHAPE, "bool")]
    return tf.function(lambda inputs, kernel, mask: op(inputs, kernel, mask, False), specs)


def check_product(found, inputs, kernel, mask):
    np.testing.assert_allclose(found, inputs @ (kernel * mask), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 8, 16])
@pytest.mark.parametrize("change", ["assign", "assign_add", "scatter_nd_update"])
def test_every_change_of_a_kernel_is_seen(product, rows, change):
    import tensorflow as tf

    rng = np.random.default_rng(3)
    mask, inputs = masks(1)[0], rng.standard_normal((rows, 40), "float32")
    value = rng.standard_normal(SHAPE, "float32")
    kernel, constant_mask = tf.Variable(value), tf.constant(mask)
    for _ in range(3):
        for _ in range(4):  # the third call keeps the kernel, the fourth does not read it
            check_product(product(inputs, kernel, constant_mask), inputs, value, mask)
        if change == "scatter_nd_update":
            row, column = np.argwhere(mask)[7]
            value[row, column] += 1
            kernel.scatter_nd_update([[row, column]], [value[row, column]])
        else:
            value = value + 1
            kernel.assign_add(np.ones(SHAPE, "float32")) if change == "assign_add" else (
                kernel.assign(value)
            )


def test_a_kernel_that_changes_inside_of_the_compiled_step_is_seen():
    import tensorflow as tf

    op, mask = custom_ops().keras_sparse_mat_mul, masks(1)[0]
    value = np.random.default_rng(4).standard_normal(SHAPE, "float32")
    kernel = tf.Variable(value)

    @tf.function
    def step(inputs, change):
        before = op(inputs, kernel, mask, False)
        kernel.assign_add(change * tf.ones(SHAPE))
        return before, op(inputs, kernel, mask, False)

    inputs = operands(0)[0]
    for change in (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, 0.0):
        before, after = step(inputs, change)
        check_product(before, inputs, value, mask)
        value = value + np.float32(change)
        check_product(after, inputs, value, mask)


def test_a_mask_that_changes_over_a_kept_kernel_is_seen(product):
    import tensorflow as tf

    value = np.random.default_rng(5).standard_normal(SHAPE, "float32")
    kernel, inputs = tf.constant(value), operands(0)[0]
    for mask in masks(3):
        for _ in range(3):
            check_product(product(inputs, kernel, tf.constant(mask)), inputs, value, mask)


def test_batches_of_several_sizes_share_a_kept_kernel(product):
    import tensorflow as tf

    rng = np.random.default_rng(6)
    mask, value = masks(1)[0], rng.standard_normal(SHAPE, "float32")
    kernel, constant_mask = tf.constant(value), tf.constant(mask)
    for rows in (1, 1, 1, 5, 5, 5, 40, 1, 5):
        inputs = rng.standard_normal((rows, 40), "float32")
        check_product(product(inputs, kernel, constant_mask), inputs, value, mask)


def test_the_same_rows_have_the_same_bits_before_and_after_the_kernel_is_kept(product):
    import tensorflow as tf

    kernel = tf.constant(np.random.default_rng(7).standard_normal(SHAPE, "float32"))
    mask, inputs = tf.constant(masks(1)[0]), operands(0)[0]
    first = product(inputs, kernel, mask).numpy()
    assert all((product(inputs, kernel, mask).numpy() == first).all() for _ in range(4))


# --- a forward product and its input gradient read a kernel once

LARGE = (1024, 512)  # 2 MiB: smaller kernels are read twice


def names_of_pairs(run):
    """Types of the products of a graph that share values, by the name of their pair."""
    return pairs_that_ran(run, "shared_values")


def large_operands():
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal(LARGE, "float32") / 32
    return rng.standard_normal((32, LARGE[0]), "float32"), kernel, rng.random(LARGE) < 0.1


def test_a_kernel_that_a_step_changes_is_read_anew_in_the_next_one():
    import tensorflow as tf

    inputs, kernel, active = large_operands()
    variable, mask = tf.Variable(kernel), tf.Variable(active)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            weights = tf.identity(variable)
            tape.watch((x, weights))
            flags = {"dense_weight_gradient": False, "implementation": "custom_op"}
            outputs = ks.ops.sparse_matmul(x, weights, mask, **flags)
            loss = tf.reduce_sum(outputs**2)
        by_inputs, by_kernel = tape.gradient(loss, (x, weights))
        variable.assign_sub(1e-3 * by_kernel)
        return outputs, by_inputs

    for number in range(4):
        if number == 2:
            active = ~active
            mask.assign(active)
        expected = inputs @ (kernel * active)
        outputs, by_inputs = step(tf.constant(inputs))
        np.testing.assert_allclose(outputs, expected, atol=1e-4)
        np.testing.assert_allclose(by_inputs, 2 * expected @ (kernel * active).T, atol=1e-3)
        kernel = kernel - 1e-3 * (inputs.T @ (2 * expected)) * active
    pair = ["KerasSparse>MatMul", "KerasSparse>MatMulInputGradient"]
    again = tf.function(step.python_function)
    assert names_of_pairs(lambda: again(tf.constant(inputs))) == [pair]


@pytest.mark.parametrize("name", ["dense", "conv", "transposed"])
def test_products_of_layers_share_what_they_read(name):
    """A transposed convolution is an input gradient first: it has nothing to take."""
    import keras
    import tensorflow as tf

    layer, shape = {
        "dense": (ks.layers.SparseDense(512), (1024,)),
        "conv": (ks.layers.SparseConv2D(256, 3, padding="same"), (4, 4, 256)),
        "transposed": (ks.layers.SparseConv2DTranspose(256, 3, padding="same"), (4, 4, 256)),
    }[name]
    first = keras.layers.Dense(shape[-1])
    model = keras.Sequential([keras.Input(shape), first, layer, keras.layers.Flatten()])
    rng = np.random.default_rng(0)
    layer.set_mask(rng.random(layer.kernel.shape) < 0.05)
    inputs = tf.constant(rng.standard_normal((128, *shape), "float32"))

    def gradients(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(loss, [weight.value for weight in model.trainable_weights])

    step = tf.function(gradients)
    pairs = names_of_pairs(lambda: step(inputs))
    op = "KerasSparse>MatMul" if name == "dense" else "KerasSparse>Conv2D"
    with_bias = f"{op}WithBias"  # a graph joins the bias
    assert pairs == ([] if name == "transposed" else [[f"{op}InputGradient", with_bias]])
    for one, other in zip(step(inputs), gradients(inputs), strict=True):
        scale = np.abs(other).max()
        np.testing.assert_allclose(one / scale, other / scale, atol=1e-5)
