"""While a growth window is open, the op computes all weights' gradients where that is faster."""

import dataclasses

import keras
import numpy as np
import pytest
from graphs import nodes_that_ran
from helpers import sgd
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.commands.break_even_fit import Point, fitted
from keras_sparse.compute import gradients, tuned
from keras_sparse.compute.break_even import Row
from keras_sparse.compute.cpu_kernels import computes_all_gradients
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product

pytestmark = needs_ops
CONV = {"padding": "same"}
FORMS = {  # kernel without its channels, the rest of the product
    "3x3": ((3, 3), CONV),
    "1x1": ((1, 1), CONV),
    "strided": ((3, 2), {"strides": (2, 1), "padding": "valid"}),
    "dilated": ((3, 3), {**CONV, "dilation": (2, 1)}),
    "a part of the batch": ((3, 3), {**CONV, "growth_batch": 0.5}),
}
STOCK = {"Conv2DBackpropFilter", "_MklNativeConv2DBackpropFilter"}


def of(monkeypatch, is_faster):
    monkeypatch.setattr(gradients, "computes_all_gradients", lambda product: is_faster)


def open_gradient(product, dtype):
    """The gradient of all weights, and the types of the nodes that computed it."""
    import tensorflow as tf

    rng, channels = np.random.default_rng(0), product.kernel_shape[2:]
    product = dataclasses.replace(product, dtype=dtype)
    inputs = tf.cast(rng.normal(size=(4, 7, 8, channels[0])), dtype)
    kernel = tf.cast(rng.normal(size=product.kernel_shape), dtype)
    mask = rng.random(product.kernel_shape) < 0.3

    @tf.function(autograph=False)
    def run(inputs, kernel, wanted):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = call_custom_op(product, inputs, kernel, mask, wanted, "layer")
            loss = tf.reduce_sum(outputs * tf.cast(tf.range(1, channels[1] + 1), dtype))
        return tape.gradient(loss, kernel)

    found = []
    nodes = nodes_that_ran(lambda: found.append(run(inputs, kernel, tf.constant(True))))
    return np.asarray(tf.cast(found[0], "float32")), {node.op for node in nodes}


@pytest.mark.parametrize("channels", [(16, 32), (17, 19)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("form", FORMS)
def test_both_ways_give_the_same_gradient(form, dtype, channels, monkeypatch):
    size, settings = FORMS[form]
    product = Product("conv2d", (*size, *channels), **settings)
    of(monkeypatch, False)
    expected, stock = open_gradient(product, "float32")
    of(monkeypatch, True)
    found, custom = open_gradient(product, dtype)
    scale = np.abs(expected).max()
    error = np.abs(found - expected).max() / scale
    assert error < (1e-5 if dtype == "float32" else 0.02)
    assert np.count_nonzero(found) > 0.95 * found.size
    assert STOCK & stock
    assert not STOCK & custom


@pytest.fixture
def of_avx2(monkeypatch):
    """The shipped table of processors with AVX2 and without AVX-512."""
    monkeypatch.setattr(tuned, "instructions", lambda: frozenset({"avx2"}))
    tuned.tables.cache_clear()
    yield
    tuned.tables.cache_clear()


CONVOLUTION = Product("conv2d", (3, 3, 64, 64))
DILATED = Product("conv2d", (3, 3, 64, 64), dilation=(2, 2))
POINTWISE = Product("conv2d", (1, 1, 64, 64))


@pytest.mark.parametrize(
    ("product", "dtype", "expected"),
    [
        (CONVOLUTION, "float32", True),
        (DILATED, "float32", True),
        (POINTWISE, "float32", False),
        (POINTWISE, "bfloat16", True),
        (CONVOLUTION, "float16", True),
        (Product("matmul", (64, 64)), "float32", False),
    ],
)
def test_the_table_says_where_it_is_faster(product, dtype, expected, of_avx2):
    assert computes_all_gradients(dataclasses.replace(product, dtype=dtype)) == expected


@pytest.mark.parametrize("product", [CONVOLUTION, POINTWISE])
def test_elsewhere_nobody_has_measured_it_to_be_faster(product):
    assert not computes_all_gradients(product)


def trained():
    """The mask after 6 steps with two updates, and how many nodes for the op's kernel gradient."""
    keras.utils.set_random_seed(0)
    conv = keras.layers.Conv2D(32, 3, padding="same")
    model = ks.sparsify(keras.Sequential([keras.Input((8, 8, 16)), conv]))
    model.compile(ks.SparseMomentum(sgd(), 0.1, growth_window=2, seed=0), "mse")
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(96, 8, 8, n)).astype("float32") for n in (16, 32))
    updates = ks.UpdateMasks(every=3)
    nodes = nodes_that_ran(lambda: model.fit(x, y, batch_size=16, verbose=0, callbacks=[updates]))
    of_kernels = [node for node in nodes if node.op == "KerasSparse>Conv2DKernelGradient"]
    return np.asarray(model.layers[-1].mask), len(of_kernels)


def test_a_training_grows_the_same_weights_either_way(monkeypatch):
    of(monkeypatch, False)
    expected, of_active = trained()
    of(monkeypatch, True)
    mask, of_active_and_all = trained()
    np.testing.assert_array_equal(mask, expected)
    assert (of_active, of_active_and_all) == (1, 2)


@pytest.mark.parametrize(("gains", "density"), [((1.3, 1.1, 0.9), 1), ((1.3, 0.9, 0.8), 0)])
def test_a_fitted_row_is_one_where_most_products_gain(gains, density):
    row = Row("open convolution", "float32", "weights", 0.0, 0, 2e6, 4e6)
    points = [Point(10**5, 10**4, gain) for gain in gains]
    assert fitted(points, row).density == density
