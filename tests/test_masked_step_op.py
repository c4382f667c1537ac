"""The operations that step and mask a weight: steps by hand, and wrong arguments."""

import functools

import numpy as np
import pytest
from oracle import needs_ops

pytestmark = needs_ops

NUMBERS = {
    "momentum": {"learning_rate": 0.5, "momentum": 0.25},
    "adam": {"rate": 2.0, "one_minus_beta_1": 0.5, "one_minus_beta_2": 0.25, "epsilon": 4.0},
}


def apply_masked(name, weight, momenta, mask, gradient, **numbers):
    """Steps by the operation of SGD, "momentum", or of Adam, "adam"."""
    from keras_sparse.compute.library import library

    handles = dict(zip(("momentum_var", "velocity_var"), [m.handle for m in momenta], strict=False))
    operation = getattr(library(), f"keras_sparse_apply_masked_{name}")
    numbers = {**NUMBERS[name], **numbers}
    operation(var=weight.handle, mask=mask, gradient=gradient, **handles, **numbers)


@pytest.mark.parametrize(
    ("name", "numbers", "weights", "momenta"),
    [
        ("momentum", {}, [9.0, 0.0, 9.5], [[-1.0, 2.0, -0.5]]),
        ("momentum", {"use_nesterov": True}, [7.75, 0.0, 10.375], [[-1.0, 2.0, -0.5]]),
        ("adam", {}, [9.0, 0.0, 10.625], [[4.0, 1.0, -2.5], [16.0, 4.0, 16.0]]),
    ],
)
@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
def test_a_step_by_hand(how, name, numbers, weights, momenta):
    import tensorflow as tf

    before = [[10.0, 10.0, 10.0], [4.0, 4.0, -4.0], [16.0, 4.0, 21.0]][: 1 + len(momenta)]
    variables = [tf.Variable(values) for values in before]
    mask, gradient = tf.constant([True, False, True]), tf.constant([4.0, -2.0, -1.0])

    def step():
        apply_masked(name, variables[0], variables[1:], mask, gradient, **numbers)

    read = [tf.identity(variable) for variable in variables]
    (step if how == "eager" else tf.function(step, jit_compile=how == "xla"))()
    np.testing.assert_array_equal(variables, [weights, *momenta])
    assert not np.signbit(variables[0].numpy()[1])
    np.testing.assert_array_equal(read, before)  # what was read stays


@pytest.mark.parametrize("how", ["eager", "graph", "xla"])
@pytest.mark.parametrize("name", list(NUMBERS))
def test_wrong_arguments_are_errors(name, how):
    import tensorflow as tf

    kept = [tf.Variable([0.0, 0.0]) for _ in range({"momentum": 1, "adam": 2}[name])]
    weight, mask, gradient = tf.Variable([1.0, 2.0]), [True, False], [1.0, 1.0]
    doubles, three = tf.Variable([1.0, 2.0], dtype="float64"), tf.Variable([1.0, 2.0, 3.0])
    empty = tf.raw_ops.VarHandleOp(
        dtype=tf.float32, shape=[2], shared_name=f"empty_{how}", name="empty"
    )

    class Empty:
        handle = empty

    wrong = [
        ((weight, kept, [True], gradient), {}),
        ((weight, kept, mask, [[1.0, 1.0]]), {}),
        ((doubles, kept, mask, gradient), {}),
        ((Empty, kept, mask, gradient), {}),
        *(((weight, kept, mask, gradient), {number: [1.0]}) for number in NUMBERS[name]),
        *(((weight, [*kept[:-1], bad], mask, gradient), {}) for bad in (three, doubles, Empty)),
    ]
    if how != "xla":
        wrong.append(((weight, [*kept[:-1], weight], mask, gradient), {}))
    errors = ValueError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError
    for arguments, numbers in wrong:
        step = functools.partial(apply_masked, name, *arguments, **numbers)
        with pytest.raises(errors):
            (step if how == "eager" else tf.function(step, jit_compile=how == "xla"))()
    np.testing.assert_array_equal(weight, [1.0, 2.0])
    np.testing.assert_array_equal(kept, np.zeros((len(kept), 2)))
