"""sparse_conv2d and sparse_matmul compute what Keras does with kernel * mask, and its gradients."""

import itertools
import os

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from oracle import Counter, assert_close, needs_ops, random_case, results

import keras_sparse as ks

tf = pytest.importorskip("tensorflow")
pytestmark = needs_ops


def conv(inputs=(2, 9, 8, 5), kernel=(3, 3, 5, 6), density=0.3, **options):
    return random_case(inputs, kernel, density, **options)


def dense(inputs=(3, 20), kernel=(20, 33), density=0.3, **options):
    return random_case(inputs, kernel, density, **options)


GRID = [
    conv(
        strides=strides,
        padding=padding,
        kernel=(*size, 5, 7),
        inputs=(batch, 11, 10, 5),
        density=density,
    )
    for (strides, padding, size), (batch, density) in zip(
        itertools.product(
            (1, 2, 3), ("same", "valid"), ((1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (1, 3))
        ),
        itertools.cycle(itertools.product((1, 3, 16, 17), (0.0, 0.05, 0.3, 1.0))),
        strict=False,
    )
] + [
    conv(inputs=(16, 7, 9, 16), kernel=(3, 3, 16, 32)),
    conv(inputs=(1, 1, 1, 1), kernel=(1, 1, 1, 1), density=1.0),
    conv(inputs=(2, 13, 6, 37), kernel=(3, 2, 37, 17), strides=(2, 1), padding="same"),
    conv(inputs=(17, 8, 8, 64), kernel=(3, 3, 64, 48), padding="same", density=0.1),
    *(
        dense((rows, 37), (37, 19), density)
        for rows, density in itertools.product((1, 3, 16, 17, 130), (0.0, 0.1, 1.0))
    ),
    *(
        conv(inputs=(3, 13, 11, 5), padding=padding, dilation_rate=rate, density=density)
        for padding, rate, density in (("same", 2, 0.3), ("valid", (3, 1), 0.05), ("same", 6, 1.0))
    ),
    dense((2, 3, 4, 10), (10, 12)),
    dense((10,), (10, 12)),
]


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("case", GRID, ids=str)
def test_values_and_gradients_are_those_of_the_masked_dense_operation(case, wanted):
    assert_close(results(case, wanted, "custom_op"), results(case, wanted, "oracle"))


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("case", GRID[::6], ids=str)
def test_the_stock_form_is_the_same(case, wanted):
    assert_close(results(case, wanted, "stock"), results(case, wanted, "oracle"))


COMPILED = [
    conv(),
    conv(strides=2, padding="same"),
    conv(strides=3, kernel=(5, 2, 5, 3)),
    conv(dilation_rate=(1, 3), padding="same"),
    dense(),
    dense((2, 5, 20)),
]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("case", COMPILED, ids=str)
def test_functions_and_xla_give_the_same(case, wanted, jit_compile):
    expected = results(case, wanted, "oracle")
    assert_close(
        tf.function(lambda: results(case, wanted, "custom_op"), jit_compile=jit_compile)(), expected
    )
    flag = tf.Variable(wanted)
    assert_close(
        tf.function(lambda: results(case, flag, "custom_op"), jit_compile=jit_compile)(), expected
    )


@pytest.mark.parametrize("case", [conv(), dense()], ids=str)
def test_the_flag_is_read_at_run_time_without_retracing(case):
    flag, traced = tf.Variable(True), Counter()

    @tf.function
    def gradients():
        traced()
        return results(case, flag, "custom_op")

    for wanted in (True, False, True):
        flag.assign(wanted)
        assert_close(gradients(), results(case, wanted, "oracle"))
    assert traced.count == 1


@pytest.mark.parametrize("case", [conv(), dense()], ids=str)
def test_a_changed_mask_is_picked_up(case):
    mask, traced = tf.Variable(case.mask), Counter()

    @tf.function
    def gradients():
        traced()
        return results(case._replace(mask=mask), False, "custom_op")

    for seed in range(3):
        changed = case._replace(mask=np.random.default_rng(seed).random(case.kernel.shape) < 0.5)
        mask.assign(changed.mask)
        assert_close(gradients(), results(changed, False, "oracle"))
    assert traced.count == 1


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize(
    "case", [conv(kernel=(3, 3, 5, 8), strides=2, padding="same"), dense()], ids=str
)
def test_masks_of_blocks_and_masks_that_are_so_no_longer(case, wanted):
    *taps, ins, outs = case.kernel.shape
    blocks = np.random.default_rng(0).random((*taps, ins, -(-outs // 4))) < 0.4
    blocks = blocks[..., ::4, :].repeat(4, axis=-2).repeat(4, axis=-1)[..., :ins, :outs]
    fewer = blocks.copy()
    fewer[np.unravel_index(np.argmax(blocks), blocks.shape)] = False
    for mask in (blocks, fewer, blocks):
        masked = case._replace(mask=mask)
        assert_close(results(masked, wanted, "custom_op"), results(masked, wanted, "oracle"))


@pytest.mark.parametrize("case", [conv(kernel=(3, 3, 5, 40)), dense()], ids=str)
def test_masks_with_empty_rows_and_columns(case):
    mask = case.mask.copy()
    mask[..., 0, :] = mask[..., 2] = mask[..., 17:] = False
    for wanted in (True, False):
        assert_close(
            results(case._replace(mask=mask), wanted, "custom_op"),
            results(case._replace(mask=mask), wanted, "oracle"),
        )


def test_missing_weights_are_never_read():
    case = conv()
    kernel = np.where(case.mask, case.kernel, np.nan).astype("float32")
    assert_close(
        results(case._replace(kernel=kernel), False, "custom_op"), results(case, False, "oracle")
    )


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize(
    "case",
    [
        conv(strides=2, padding="same"),
        conv(),
        conv(dilation_rate=2, padding="same"),
        dense(),
        dense((2, 3, 20)),
    ],
    ids=str,
)
def test_second_order_gradients(case, wanted):
    def second(implementation):
        """Gradients of |first gradients|^3, so that each depends on each."""
        inputs, kernel = tf.constant(case.inputs), tf.constant(case.kernel)
        with tf.GradientTape() as outer:
            outer.watch((inputs, kernel))
            with tf.GradientTape() as inner:
                inner.watch((inputs, kernel))
                loss = tf.reduce_sum(case.run(inputs, kernel, wanted, implementation) ** 3)
            first = inner.gradient(loss, (inputs, kernel))
            total = sum(tf.reduce_mean(gradient**3) for gradient in first)
        return outer.gradient(total, (inputs, kernel))

    assert_close(second("custom_op"), second("stock"), 1e-4)
    assert_close(tf.function(second)("custom_op"), second("stock"), 1e-4)


def test_gradients_nobody_asks_for_are_not_in_the_graph():
    case = conv()

    @tf.function
    def input_gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = case.run(inputs, tf.constant(case.kernel), False, "custom_op")
        return tape.gradient(outputs, inputs)

    function = input_gradient.get_concrete_function(tf.constant(case.inputs))
    assert "KerasSparse>Conv2DKernelGradient" not in {
        op.type for op in function.graph.get_operations()
    }
    assert np.isfinite(input_gradient(tf.constant(case.inputs))).all()


@pytest.mark.parametrize(
    "case",
    [
        conv(inputs=(0, 9, 8, 5)),
        conv(kernel=(3, 3, 5, 0)),
        dense((0, 20)),
        dense((2, 0, 20)),
        dense((3, 0), (0, 4)),
    ],
    ids=str,
)
def test_nothing_in_gives_nothing_or_zeros_out(case):
    assert_close(
        results(case, False, "custom_op"), case.by_numpy()
    )  # stock convolutions get the shape wrong
    assert_close(results(case, True, "custom_op"), case.by_numpy())


def test_inputs_without_channels_give_zeros():
    outputs = ks.ops.sparse_conv2d(
        np.zeros((2, 5, 5, 0), "f"),
        np.zeros((3, 3, 0, 4), "f"),
        np.zeros((3, 3, 0, 4), bool),
        implementation="custom_op",
    )
    np.testing.assert_array_equal(outputs, np.zeros((2, 3, 3, 4)))


@pytest.mark.parametrize(
    "shape", [(None, None, None, 5), (None, 9, None, 5), (None, None, None, None), None]
)
def test_shapes_that_are_not_known_when_traced(shape):
    case = conv(strides=2, padding="same")
    function = tf.function(
        lambda inputs: results(case._replace(inputs=inputs), False, "custom_op"),
        input_signature=[tf.TensorSpec(shape)],
    )
    assert_close(function(case.inputs), results(case, False, "oracle"))


@pytest.mark.parametrize("shape", [(None, 20), (None, None, 20), (None, None), None])
def test_rows_that_are_not_known_when_traced(shape):
    case = dense((3, 20) if shape is None or len(shape) == 2 else (2, 3, 20))
    function = tf.function(
        lambda inputs: results(case._replace(inputs=inputs), False, "custom_op"),
        input_signature=[tf.TensorSpec(shape)],
    )
    assert_close(function(case.inputs), results(case, False, "oracle"))


def test_static_shapes_go_through():
    outputs = []

    @tf.function(input_signature=[tf.TensorSpec((None, 9, 8, 5))])
    def function(inputs):
        outputs.append(
            conv(strides=2, padding="same").run(inputs, tf.zeros((3, 3, 5, 6)), True, "custom_op")
        )
        return outputs[0]

    function.get_concrete_function()
    assert outputs[0].shape.as_list() == [None, 5, 4, 6]


def test_the_same_bits_every_time():
    case = conv(inputs=(8, 14, 14, 32), kernel=(3, 3, 32, 48))
    first = results(case, False, "custom_op")
    for _ in range(5):
        for one, other in zip(first, results(case, False, "custom_op"), strict=True):
            np.testing.assert_array_equal(one, other)


def test_in_a_while_loop():
    kernel, mask = np.eye(8, dtype="f") * 2, np.eye(8, dtype=bool)

    @tf.function
    def four_times(inputs):
        for _ in tf.range(4):
            inputs = ks.ops.sparse_matmul(inputs, kernel, mask, implementation="custom_op")
        return inputs

    np.testing.assert_array_equal(four_times(np.ones((3, 8), "f")), np.full((3, 8), 16.0))


def test_a_saved_model_carries_the_op(tmp_path):
    case, module = conv(), tf.Module()
    module.f = tf.function(
        lambda inputs: case.run(inputs, tf.constant(case.kernel), True, "custom_op"),
        input_signature=[tf.TensorSpec((None, 9, 8, 5))],
    )
    tf.saved_model.save(module, str(tmp_path))
    assert_close([tf.saved_model.load(str(tmp_path)).f(case.inputs)], [module.f(case.inputs)])


SIZES = st.integers(1, 9)
EXAMPLES = int(os.environ.get("KERAS_SPARSE_FUZZ", "200"))


@pytest.mark.slow
@hypothesis.settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 200, database=None
)
@hypothesis.given(
    sizes=st.tuples(st.integers(0, 5), SIZES, SIZES, st.integers(0, 20)),
    kernel=st.tuples(SIZES, SIZES, st.integers(0, 35)),
    strides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.sampled_from(["same", "valid"]),
    density=st.sampled_from([0.0, 0.02, 0.2, 0.7, 1.0]),
    seed=st.integers(0, 2**16),
)
def test_any_shape(sizes, kernel, strides, padding, density, seed):
    """KERAS_SPARSE_FUZZ=10000 asks for as many cases."""
    if padding == "valid":
        kernel = (min(kernel[0], sizes[1]), min(kernel[1], sizes[2]), kernel[2])
    case = random_case(
        sizes, (*kernel[:2], sizes[3], kernel[2]), density, seed, strides=strides, padding=padding
    )
    assert_close(results(case, False, "custom_op"), case.by_numpy())
    rows = random_case((sizes[0] * sizes[1], sizes[3]), (sizes[3], kernel[2]), density, seed)
    assert_close(results(rows, False, "custom_op"), rows.by_numpy())


@pytest.mark.parametrize("implementation", ["auto", "stock"])
def test_autograph_says_nothing_of_an_op_in_a_function(implementation, caplog):
    import tensorflow as tf

    @tf.function
    def product(inputs):
        kernel, mask = np.ones((4, 8), "f"), np.eye(4, 8, dtype=bool)
        return ks.ops.sparse_matmul(inputs, kernel, mask, implementation=implementation)

    with caplog.at_level("WARNING", logger="tensorflow"):
        np.testing.assert_array_equal(product(np.ones((1, 4), "f"))[0], [1.0] * 4 + [0.0] * 4)
    assert "AutoGraph" not in caplog.text
