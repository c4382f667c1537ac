"""What the compiled ops keep from call to call never shows in a result."""

import numpy as np
import pytest
from oracle import needs_ops

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
