"""sparse_conv2d and sparse_matmul compute what Keras does with kernel * mask, and its gradients."""

import itertools
import os

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from oracle import Counter, assert_close, conv, dense, needs_ops, random_case, results

import keras_sparse as ks

tf = pytest.importorskip("tensorflow")
pytestmark = needs_ops


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
@pytest.mark.parametrize(
    ("case", "wanted"),
    list(zip(COMPILED, itertools.cycle([False, True]), strict=False)),
    ids=str,
)
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


def test_the_same_bits_every_time():
    case = conv(inputs=(8, 14, 14, 32), kernel=(3, 3, 32, 48))
    first = results(case, False, "custom_op")
    for _ in range(5):
        for one, other in zip(first, results(case, False, "custom_op"), strict=True):
            np.testing.assert_array_equal(one, other)


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
