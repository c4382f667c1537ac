"""Who computes a product: what `choose` says is what runs, in operations and in layers."""

import numpy as np
import pytest
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute.choice import choose
from keras_sparse.compute.product import Product, pair, positions

pytestmark = needs_ops
OP = "custom op"
RNG = np.random.default_rng(0)


def mask_of(shape, density):
    """A mask of exactly this density, as near as its size allows."""
    mask = np.arange(np.prod(shape)) < round(density * np.prod(shape))
    return RNG.permutation(mask).reshape(shape)


# --- products


@pytest.mark.parametrize(
    ("settings", "input_shape", "expected"),
    [
        ({}, (8, 9, 11, 16), 8 * 7 * 9),
        ({"padding": "same"}, (8, 9, 11, 16), 8 * 9 * 11),
        ({"padding": "same", "strides": (2, 3)}, (8, 9, 11, 16), 8 * 5 * 4),
        ({"strides": (2, 3)}, (8, 9, 11, 16), 8 * 4 * 3),
        ({"dilation": (2, 1)}, (8, 9, 11, 16), 8 * 5 * 9),
        ({"data_format": "channels_first"}, (8, 16, 9, 11), 8 * 7 * 9),
        ({}, (None, 9, 11, 16), np.inf),
        ({}, (8, None, 11, 16), np.inf),
        ({}, (0, None, 11, 16), 0),
        ({}, None, np.inf),
    ],
)
def test_positions_of_a_convolution(settings, input_shape, expected):
    product = Product("conv2d", (3, 3, 16, 32), **settings)
    assert product.on(input_shape).positions == expected


def test_positions_of_a_matrix_product():
    assert Product("matmul", (16, 32)).on((3, 5, 16)).positions == 15
    assert positions([]) == 1


def test_a_kernel_has_the_axes_of_its_kind():
    with pytest.raises(ValueError, match="`kernel_shape` of a matmul must have 2 axes. Received"):
        Product("matmul", (3, 3, 16, 32))


@pytest.mark.parametrize("value", [0, (1, 2, 3), (1, 0), (1.0, 2.0)])
def test_what_is_no_pair(value):
    with pytest.raises(ValueError, match="`strides` must be one or two ints of at least 1"):
        pair("strides", value)


# --- choices


@pytest.mark.parametrize(
    ("structure", "is_stock"),
    [
        (ks.structure.Weights(), True),
        (ks.Blocks(4, 4, per_tap=True), False),
        (ks.Blocks(8, 2), False),
        (ks.Blocks(1, 8), True),
    ],
)
def test_small_blocks_are_worth_it_at_densities_at_which_single_weights_are_not(
    structure, is_stock
):
    product = Product("conv2d", (3, 3, 64, 64), structure=structure)
    assert choose(product, density=0.65).is_stock == is_stock


def test_a_choice_says_why_it_is_stock():
    product = Product("matmul", (64, 64))
    assert choose(product, density=0.25).why is None
    assert choose(product, density=0.6).why == "density 0.60 is above 0.5"
    assert choose(product.on((4, 64)), density=0.25).why == "4 output positions are too few"
    assert choose(product, "stock").why == 'implementation="stock"'
    assert choose(product.on((4, 64)), "custom_op", density=1.0).why is None
    assert choose(Product("matmul", (None, 64))).why.startswith("the shape of the kernel is not")


def test_another_implementation_is_refused():
    with pytest.raises(ValueError, match="`implementation` must be .auto., .*Received: .*'fast'"):
        choose(Product("matmul", (64, 64)), "fast")


# --- "auto" of the operations is that of the layers

CALLS = {  # product: inputs of few and of many positions, kernel
    "conv2d": ((1, 4, 4, 64), (8, 12, 12, 64), (3, 3, 64, 64)),
    "matmul": ((4, 256), (1024, 256), (256, 256)),
}


def call(kind, inputs, kernel, mask, **options):
    function = ks.ops.sparse_conv2d if kind == "conv2d" else ks.ops.sparse_matmul
    return function(inputs, kernel, mask, **options)


@pytest.mark.parametrize("how", ["eager", "constant", "variable", "any batch"])
@pytest.mark.parametrize("kind", CALLS)
def test_auto_of_an_operation_goes_by_density_and_positions(kind, how, ran):
    import tensorflow as tf

    few, many, shape = CALLS[kind]
    kernel, variable = np.ones(shape, "f"), tf.Variable(np.zeros(shape, bool))
    spec = tf.TensorSpec([None, *few[1:]] if kind == "matmul" else [None, None, None, few[3]])
    any_batch = tf.function(lambda x: call(kind, x, kernel, variable), input_signature=[spec])
    runs = []
    for shape_of_inputs in (few, many):
        for density in (0.1, 0.9):
            mask, inputs = mask_of(shape, density), np.ones(shape_of_inputs, "f")
            variable.assign(mask)
            if how == "any batch":
                outputs = any_batch(inputs)
            else:
                used = variable if how == "variable" else mask
                run = lambda: call(kind, inputs, kernel, used)  # noqa: B023, E731
                outputs = run() if how == "eager" else tf.function(run)()
            runs.append(bool(ran))
            product = Product(kind, shape).on(shape_of_inputs)
            assert runs[-1] == (not choose(product, density=mask.mean()).is_stock)
            ran.clear()
            expected = call(kind, inputs, kernel, mask, implementation="stock")
            np.testing.assert_allclose(outputs, expected, rtol=1e-4)
    assert runs == [False, False, True, False]


def test_a_kernel_of_unknown_shape_runs_the_stock_operation(ran):
    import tensorflow as tf

    specs = [tf.TensorSpec((None, None)), tf.TensorSpec(None), tf.TensorSpec(None, tf.bool)]
    function = tf.function(ks.ops.sparse_matmul, input_signature=specs)
    eye = np.eye(64, dtype="f")
    np.testing.assert_array_equal(function(np.ones((512, 64), "f"), eye, eye > 0), 1)
    assert not ran
