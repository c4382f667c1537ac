"""With a growth batch, missing weights get the scaled gradient of the first examples."""

import functools

import keras
import numpy as np
import pytest
from helpers import array, compiled, sgd, sparse, toy_data
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_kinds import KINDS
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse._keras import to_float32
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product
from keras_sparse.training.momentum import momentum_of


def kernel_gradient(product, inputs, kernel, mask, factors, wanted=True):
    """The gradient of sum(outputs * factors) by the kernel."""
    import tensorflow as tf

    kernel = tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch(kernel)
        outputs = call_custom_op(product, tf.constant(inputs), kernel, mask, wanted, "layer")
    return np.asarray(tape.gradient(outputs, kernel, tf.constant(factors)))


def gradient_by_hand(inputs, factors, taps):
    """The same of all weights, in doubles: of rows, or of images with as many outputs."""
    if inputs.ndim == 2:
        return inputs.T.astype(float) @ factors
    height, width = factors.shape[1:3]
    windows = [inputs[:, y : y + height, x : x + width] for y in range(taps) for x in range(taps)]
    sums = [np.einsum("nhwi,nhwo->io", each.astype(float), factors) for each in windows]
    return np.array(sums).reshape(taps, taps, *sums[0].shape)


@needs_ops
@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 9),
    share=st.integers(1, 64).map(lambda parts: parts / 64),
    density=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    taps=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 99),
)
def test_active_weights_get_the_batchs_gradient_and_missing_ones_the_scaled_first_part(
    batch, share, density, taps, seed
):
    rng = np.random.default_rng(seed)
    sizes = (4, 5) if taps else ()
    window = (taps, taps) if taps else ()
    shape = (*window, 3, 17)
    inputs = rng.normal(size=(batch, *sizes, 3)).astype("float32")
    factors = rng.normal(size=(batch, *(n - taps + 1 for n in sizes), 17)).astype("float32")
    mask = rng.random(shape) < density
    kernel = rng.normal(size=shape).astype("float32")
    product = Product("conv2d" if taps else "matmul", shape, growth_batch=share)
    found = kernel_gradient(product, inputs, kernel, mask, factors)
    n = max(1, round(share * batch))
    part = gradient_by_hand(inputs[:n], factors[:n], taps) * batch / n
    expected = np.where(mask, gradient_by_hand(inputs, factors, taps), part)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    closed = kernel_gradient(product, inputs, kernel, mask, factors, wanted=False)
    np.testing.assert_allclose(closed, expected * mask, rtol=1e-4, atol=1e-4)


@needs_ops
@pytest.mark.parametrize(("jit_compile", "dtype"), [(False, "bfloat16"), (True, "float32")])
def test_a_batch_of_unknown_size_is_measured_when_it_comes(jit_compile, dtype):
    import tensorflow as tf

    product = Product("matmul", (8, 16), dtype, growth_batch=0.5)
    mask, kernel = np.eye(8, 16) > 0, tf.ones((8, 16), dtype)

    @tf.function(jit_compile=jit_compile, input_signature=[tf.TensorSpec((None, 8), dtype)])
    def run(inputs):
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            outputs = tf.reduce_sum(call_custom_op(product, inputs, kernel, mask, True, "layer"))
        return tape.gradient(outputs, kernel)

    for batch in (1, 2, 3, 6):
        rows = np.arange(1, batch + 1, dtype="float32")
        found = to_float32(run(tf.cast(np.repeat(rows[:, None], 8, 1), dtype)))
        n = max(1, round(0.5 * batch))
        np.testing.assert_allclose(found[mask], rows.sum())
        np.testing.assert_allclose(found[~mask], rows[:n].sum() * batch / n, rtol=1e-2)


@needs_ops
def test_an_empty_batch_has_gradients_of_0():
    product = Product("matmul", (8, 16), growth_batch=0.25)
    empty = np.zeros((0, 8), "float32"), np.ones((8, 16), "float32"), np.eye(8, 16) > 0
    assert not kernel_gradient(product, *empty, np.zeros((0, 16), "float32")).any()


def gradients_in(model, inputs, factors, growth_batch):
    """By each masked kernel, of sum(outputs * factors), the window open."""
    import tensorflow as tf

    optimizer = ks.SparseMomentum(sgd(), 0.2, growth_batch=growth_batch, seed=0)
    optimizer.build(model)
    optimizer.open_growth_window(True)
    kernels = [v for v in model.trainable_variables if kernel_mask_of(v) is not None]
    with tf.GradientTape() as tape:
        outputs = model(tf.constant(inputs), training=True)
        loss = tf.reduce_sum(outputs * tf.constant(factors))
    found = tape.gradient(loss, [kernel.value for kernel in kernels])
    masks = [array(kernel_mask_of(kernel).mask) for kernel in kernels]
    pairs = zip(masks, map(array, found), strict=True)
    return dict(zip([kernel.path for kernel in kernels], pairs, strict=True))


@needs_ops
@pytest.mark.parametrize("name", KINDS)
def test_every_layer_takes_the_first_examples_of_its_batch(name):
    kind, rng = KINDS[name], np.random.default_rng(0)
    keras.utils.set_random_seed(0)
    inputs = keras.Input(kind.shape)
    layer = kind.sparse(implementation="custom_op")
    model = keras.Model(inputs, kind.call(layer, inputs))
    x = rng.normal(size=(8, *kind.shape)).astype("float32")
    factors = rng.normal(size=(8, *model.output_shape[1:])).astype("float32")
    whole = gradients_in(model, x, factors, 1.0)
    first = gradients_in(model, x[:2], factors[:2], 1.0)
    for path, (mask, found) in gradients_in(model, x, factors, 0.25).items():
        assert 0 < mask.mean() < 1
        expected = np.where(mask, whole[path][1], 4 * first[path][1])
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


class Late(keras.Model):
    """Its weights are made when it is called first."""

    def __init__(self):
        super().__init__()
        self.hidden = ks.layers.SparseDense(16, "tanh", implementation="custom_op")
        self.head = ks.layers.SparseDense(4, implementation="custom_op")

    def call(self, inputs):
        return self.head(self.hidden(inputs))


def trained(growth_batch, batch, callbacks, **settings):
    """A model after a step of `fit`, and the momenta of its masked weights."""
    keras.utils.set_random_seed(0)
    common = {"growth_window": None, "initial_scale": None, "seed": 0, **settings}
    optimizer = ks.StaticSparsity(sgd(), 0.25, growth_batch=growth_batch, **common)
    model = compiled(optimizer, Late())
    x, y = toy_data()
    made = [callback() for callback in callbacks]
    model.fit(x[:batch], y[:batch], batch, verbose=0, callbacks=made, shuffle=False)
    inner, weights = optimizer.inner_optimizer, optimizer.masked_weights
    return model, [momentum_of(inner, one.index) for one in weights]


@functools.cache
def of_whole_batch(batch):
    """The weights, and the momenta, where missing weights get the gradient of the whole batch."""
    model, momenta = trained(1.0, batch, [ks.UpdateMasks])
    return model.get_weights(), momenta


@needs_ops
@pytest.mark.parametrize(
    ("callbacks", "chosen"), [([ks.UpdateMasks], {}), ([], {"sparse": ks.layers.SparseDense})]
)
def test_in_fit_active_weights_step_as_ever_and_momenta_of_missing_ones_are_the_parts(
    callbacks, chosen
):
    model, found = trained(0.25, 32, callbacks, **chosen)
    whole, full = of_whole_batch(32)
    _, first = of_whole_batch(8)
    for one, other in zip(model.get_weights(), whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    masks = model.optimizer.masks.values()
    for mask, got, of_all, of_part in zip(masks, found, full, first, strict=True):
        # the mean over 8 examples is the scaled sum over all 32
        np.testing.assert_allclose(got, np.where(mask, of_all, of_part), rtol=1e-4, atol=1e-6)
        assert not np.allclose(of_all[~mask], of_part[~mask], rtol=0.1)


@needs_ops
def test_the_stock_operation_has_no_growth_batch():
    keras.utils.set_random_seed(0)
    layer = ks.layers.SparseDense(4, implementation="stock")
    model = keras.Sequential([keras.Input((8,)), layer])
    x, y = toy_data()
    whole, part = gradients_in(model, x, y, 1.0), gradients_in(model, x, y, 0.25)
    for (_, one), (_, other) in zip(whole.values(), part.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_presets_take_it_and_configs_without_it_have_the_whole_batch():
    optimizer = ks.RigL(sgd(), 0.1, growth_batch=0.25)
    config = optimizer.get_config()
    assert config["growth_batch"] == 0.25
    assert ks.SparseMomentum.from_config(config).growth_batch == 0.25
    del config["growth_batch"]  # as an earlier build has saved it
    assert ks.SparseMomentum.from_config(config).growth_batch == 1.0


@pytest.mark.parametrize("wrong", [0, 0.0, -0.25, 1.5, True, None, "0.25", float("nan")])
def test_a_growth_batch_is_a_share(wrong):
    with pytest.raises(ValueError, match=r"`growth_batch` must be in \(0, 1\]. Received: "):
        sparse(growth_batch=wrong)
