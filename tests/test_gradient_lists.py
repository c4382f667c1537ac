"""While the growth window is closed, a step takes the active weights' gradients as a list.

A pass over graphs does it; where anything else reads a gradient, the gradient stays dense.
"""

import functools

import keras
import numpy as np
import pytest
from graphs import nodes_that_ran
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse._keras import to_numpy
from keras_sparse.compute.gradients import custom_ops

pytestmark = needs_ops
OP = {"implementation": "custom_op"}


def steps_with_lists(model, train=None):
    """How many kernel gradients of a training step are lists, and how many steps take one.

    A graph is recorded when it is made: the model was not trained before.
    """
    x, y = data(1)
    nodes = nodes_that_ran(train or (lambda: model.fit(x, y, verbose=0)))
    lists = [node for node in nodes if node.attr["as_list"].b]
    gradients = [node for node in lists if node.op.endswith("KernelGradient")]
    sharing = [node for node in lists if node.attr["shared_gradient"].s]
    assert all(node in gradients or node in sharing for node in lists)  # an input gradient gives it
    return len(gradients), sum(node.attr["takes_list"].b for node in nodes)


def model_of_all_shapes(regularizer=None):
    """Kernels of two to four axes; Keras reshapes some of them to two."""
    layers = ks.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 16)),
            layers.SparseConv2D(16, 3, strides=2, padding="same", activation="relu", **OP),
            layers.SparseConv2D(24, 1, **OP),
            keras.layers.Reshape((16, 24)),
            layers.SparseConv1D(16, 3, padding="same", **OP),
            layers.SparseEinsumDense("btc,chd->bthd", (16, 4, 8), bias_axes="hd", **OP),
            keras.layers.Flatten(),
            layers.SparseDense(20, kernel_regularizer=regularizer, **OP),
            keras.layers.Dense(4, dtype="float32"),
        ]
    )


LISTED = 5  # all but the last layer, which is dense


def data(steps):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8 * steps, 8, 8, 16)).astype("float32")
    return x, rng.normal(size=(8 * steps, 4)).astype("float32")


def sgd(**settings):
    return keras.optimizers.SGD(0.05, momentum=0.9, **settings)


def compiled(make, watch=False, jit_compile=False, inner=None, **settings):
    """A model that trains by `inner`, or by SGD; `watch`: something else reads all gradients."""
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = make()
    optimizer = ks.SparseMomentum(inner or sgd(), 0.3, prune_rate=0.5, seed=0, **settings)
    if watch:
        seen = tf.Variable(0.0)
        apply = optimizer.apply

        def read_and_apply(gradients, variables=None):
            seen.assign(sum(tf.reduce_sum(tf.cast(one, "float32")) for one in gradients))
            return apply(gradients, variables)

        optimizer.apply = read_and_apply
    optimizer.updates_are_planned = True  # this file makes them
    model.compile(optimizer, "mse", jit_compile=jit_compile)
    optimizer.build(model)
    return model


def state_after(model):
    """Of a training with closed and open windows, and masks that change."""
    x, y = data(3)
    for is_open in (False, True, False):
        model.optimizer.open_growth_window(is_open)
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
        if is_open:
            model.optimizer.update_masks()
    for weight, mask in zip(
        model.optimizer.masked_variables, model.optimizer.mask_variables, strict=True
    ):
        assert not to_numpy(weight)[~to_numpy(mask)].any()
    return [to_numpy(value) for value in [*model.variables, *model.optimizer.variables]]


@pytest.mark.parametrize(
    ("name", "inner", "settings"),
    [
        ("float32", sgd, {}),
        ("float32", keras.optimizers.Adam, {}),
        (
            "mixed_bfloat16",
            functools.partial(sgd, nesterov=True, weight_decay=0.01),
            {"growth_batch": 0.5},
        ),
        ("mixed_bfloat16", keras.optimizers.AdamW, {"structure": ks.Blocks(4, 4, per_tap=True)}),
    ],
)
def test_a_training_by_lists_has_the_bits_of_one_by_dense_gradients(policy, name, inner, settings):
    policy(name)
    found, expected = (
        compiled(model_of_all_shapes, watch, inner=inner(), **settings) for watch in (False, True)
    )
    states = []
    for model, lists in ((found, LISTED), (expected, 0)):
        counts = steps_with_lists(model, lambda one=model: states.append(state_after(one)))
        assert counts == (lists, lists)
    assert len(states[0]) == len(states[1])
    assert all((one == other).all() for one, other in zip(*states, strict=True))


def small_model(regularizer=None):
    return keras.Sequential(
        [
            keras.Input((8, 8, 16)),
            keras.layers.GlobalAveragePooling2D(),
            ks.layers.SparseDense(16, kernel_regularizer=regularizer, **OP),
            keras.layers.Dense(4),
        ]
    )


def regularized():
    return small_model(keras.regularizers.L2(0.01))


def shared():
    """A layer that is called twice has the sum of two gradients."""
    inputs = keras.Input((8, 8, 16))
    layer = ks.layers.SparseDense(16, **OP)
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    return keras.Model(inputs, keras.layers.Dense(4)(layer(layer(pooled))))


@pytest.mark.parametrize(
    ("make", "inner"),
    [
        (small_model, sgd(clipnorm=1.0)),
        (small_model, sgd(global_clipnorm=1.0)),
        (small_model, sgd(gradient_accumulation_steps=2)),
        (small_model, sgd(use_ema=True)),
        (regularized, None),
        (shared, None),
    ],
)
def test_gradients_that_something_else_reads_stay_dense(make, inner):
    assert steps_with_lists(compiled(make, inner=inner)) == (0, 0)


def test_a_graph_that_writes_the_mask_keeps_dense_gradients():
    model = compiled(small_model)
    mask = model.optimizer.mask_variables[0]
    apply = model.optimizer.apply

    def apply_and_prune(gradients, variables=None):
        apply(gradients, variables)
        mask.assign(keras.ops.logical_and(mask, keras.ops.abs(model.layers[1].kernel) > 0.01))

    model.optimizer.apply = apply_and_prune
    assert steps_with_lists(model) == (0, 0)


@pytest.mark.parametrize("unrolled", [1, 2])
def test_several_steps_in_one_call_take_lists(unrolled):
    model = compiled(small_model)
    model.compile(model.optimizer, "mse", steps_per_execution=4, jit_compile=False)
    model.unrolled_steps_per_execution = unrolled
    assert steps_with_lists(model) == (unrolled, unrolled)


def test_scaled_losses_are_checked_for_infinities_so_gradients_stay_dense(policy):
    policy("mixed_float16")
    assert steps_with_lists(compiled(small_model)) == (0, 0)


def test_a_step_waits_for_what_reads_the_weight_or_it_would_copy_it():
    """The first layer has no input gradient, and the last one is dense."""

    def two_layers():
        layers = [ks.layers.SparseDense(16, **OP) for _ in range(2)]
        pooled = keras.layers.GlobalAveragePooling2D()
        return keras.Sequential([keras.Input((8, 8, 16)), pooled, *layers, keras.layers.Dense(4)])

    model = compiled(two_layers)
    model.optimizer.open_growth_window(False)
    x, y = data(1)
    nodes = {node.name: node for node in nodes_that_ran(lambda: model.fit(x, y, verbose=0))}
    waiting = []
    for node in nodes.values():
        if node.op == "KerasSparse>ApplyMaskedMomentum":
            merge = nodes[node.input[3].split(":")[0]]
            waiting.append([nodes[name[1:]].op for name in merge.input if name[0] == "^"])
    assert sum("KerasSparse>MatMulInputGradient" in ops for ops in waiting) == 1
    assert sum("KerasSparse>MatMulWithBias" in ops for ops in waiting) == 2
    assert sum(any(op.endswith("MatMul") and ">" not in op for op in ops) for ops in waiting) == 1


def test_a_step_does_not_wait_for_what_a_loop_computes_from_it():
    """It would wait for itself, and the graph would return an empty array."""
    import tensorflow as tf

    layer = ks.layers.SparseDense(16, **OP)
    model = keras.Sequential([keras.Input((16,)), layer])
    optimizer = ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), 0.3, seed=0)
    optimizer.updates_are_planned = True
    optimizer.build(model)
    momentum = optimizer.inner_optimizer.momentums[0]

    @tf.function(autograph=False)
    def step():
        kernel = tf.convert_to_tensor(layer.kernel.value)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(model(tf.ones((4, 16)))))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, [each.value for each in variables]), variables)
        last = tf.convert_to_tensor(momentum.value)
        start = [0, tf.ones((16, 16))]
        return kernel * tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, y + last), start)[1]

    before = to_numpy(layer.kernel)
    found = step()
    np.testing.assert_allclose(found, before * (1 + 3 * to_numpy(momentum)), rtol=1e-5)


# --- the operations themselves


def test_a_list_has_the_gradients_of_active_weights_in_the_order_of_the_mask():
    op = custom_ops().keras_sparse_mat_mul_kernel_gradient
    mask = np.array([[True, False, True], [False, False, True]])
    inputs, gradient = np.array([[1.0, 2.0]], "float32"), np.array([[3.0, 4.0, 5.0]], "float32")
    np.testing.assert_array_equal(op(inputs, mask, gradient, as_list=True), [3.0, 5.0, 10.0])
    assert op(inputs, np.zeros_like(mask), gradient, as_list=True).shape == (0,)
    assert op(inputs[:0], mask, gradient[:0], as_list=True).shape == (2, 3)  # zeros


def test_xla_has_no_lists():
    import tensorflow as tf

    op = custom_ops().keras_sparse_mat_mul_kernel_gradient

    @tf.function(jit_compile=True)
    def listed(inputs, gradient):
        return op(inputs, [[True, False]], gradient, as_list=True)

    with pytest.raises(tf.errors.InvalidArgumentError, match="`as_list` must be false"):
        listed(tf.ones((1, 1)), tf.ones((1, 2)))


@pytest.mark.parametrize("nesterov", [False, True])
def test_a_step_takes_lists_and_dense_gradients(nesterov):
    import tensorflow as tf

    mask, listed = tf.constant([[True, False], [True, True]]), [1.0, -2.0, 3.0]
    results = []
    for gradient in (listed, [[1.0, 0.0], [-2.0, 3.0]], [1.0, 0.0, -2.0, 3.0]):
        weight, momentum = tf.Variable([[1.0, 5.0], [2.0, 3.0]]), tf.Variable(tf.ones((2, 2)))
        step(weight, momentum, mask, gradient, use_nesterov=nesterov)
        results.append(np.stack([weight, momentum]))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
    assert results[0][0, 0, 1] == 0.0
    assert results[0][1, 0, 1] == 0.5


def test_a_list_of_another_length_is_an_error_and_changes_nothing():
    import tensorflow as tf

    weight, momentum = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([1.0, 2.0, 3.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="each of the 1 active ones"):
        step(weight, momentum, [True, False, False], [1.0, 2.0])
    np.testing.assert_array_equal(weight, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(momentum, [1.0, 2.0, 3.0])


def step(weight, momentum, mask, gradient, **options):
    custom_ops().keras_sparse_apply_masked_momentum(
        weight.handle, momentum.handle, mask, gradient, 0.25, 0.5, takes_list=True, **options
    )
