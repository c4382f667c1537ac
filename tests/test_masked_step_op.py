"""The operation that steps and masks a weight: steps by hand, and wrong arguments."""

import functools

import numpy as np
import pytest
from oracle import needs_ops

pytestmark = needs_ops


def apply_masked(weight, momentum, mask, gradient, rate=0.5, decay=0.25, nesterov=False):
    from keras_sparse.compute.library import library

    library().keras_sparse_apply_masked_momentum(
        weight.handle, momentum.handle, mask, gradient, rate, decay, use_nesterov=nesterov
    )


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


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_wrong_arguments_are_errors(how):
    import tensorflow as tf

    weight, momentum = tf.Variable([1.0, 2.0]), tf.Variable([0.0, 0.0])
    mask, gradient = [True, False], [1.0, 1.0]
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
    if how != "xla":
        wrong.append(((weight, weight, mask, gradient), {}))
    errors = ValueError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError
    for arguments, rates in wrong:
        step = functools.partial(apply_masked, *arguments, **rates)
        with pytest.raises(errors):
            (step if how == "eager" else tf.function(step, jit_compile=how == "xla"))()
    np.testing.assert_array_equal(weight, [1.0, 2.0])
    np.testing.assert_array_equal(momentum, [0.0, 0.0])
