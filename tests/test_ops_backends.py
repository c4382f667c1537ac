"""The ops compute the same values and gradients on every backend, in every data format."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_sparse as ks

pytestmark = pytest.mark.backend
RNG = np.random.default_rng(0)
IMAGES, KERNEL = (
    RNG.normal(size=(2, 6, 7, 4)).astype("f"),
    RNG.normal(size=(3, 3, 4, 6)).astype("f"),
)
MASK = RNG.random(KERNEL.shape) < 0.4


def gradient(loss, weights):
    """d loss / d weights on this backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(weights := tf.constant(weights))
            value = loss(weights)
        return tape.gradient(value, weights).numpy()
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(loss)(weights))
    import torch

    weights = torch.tensor(weights, requires_grad=True)
    return torch.autograd.grad(loss(weights), weights)[0].numpy()


def array(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("implementation", ["auto", "stock"])
@pytest.mark.parametrize("wanted", ["False", "True", "array", "variable"])
def test_values_and_gradients(wanted, implementation):
    flag = {
        "False": False,
        "True": True,
        "array": np.array(False),
        "variable": keras.Variable(True, dtype="bool", trainable=False),
    }[wanted]
    dense = wanted in ("True", "variable")

    def loss(kernel, product=ks.ops.sparse_conv2d):
        outputs = product(
            IMAGES,
            kernel,
            MASK,
            padding="same",
            dense_weight_gradient=flag,
            implementation=implementation,
        )
        return ops.sum(outputs * ops.cos(outputs))

    def stock(kernel):
        outputs = ops.conv(IMAGES, kernel, padding="same")
        return ops.sum(outputs * ops.cos(outputs))

    np.testing.assert_allclose(array(loss(KERNEL)), array(stock(KERNEL * MASK)), rtol=1e-4)
    expected = gradient(stock, KERNEL * MASK)
    np.testing.assert_allclose(
        gradient(loss, KERNEL), expected if dense else expected * MASK, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize(
    "options",
    [
        {"dilation_rate": 2},
        {"strides": (2, 1), "padding": "same"},
        {"data_format": "channels_last"},
        pytest.param(
            {"data_format": "channels_first"},
            marks=pytest.mark.skipif(
                keras.backend.backend() == "tensorflow", reason="TensorFlow has none on CPUs"
            ),
        ),
    ],
)
def test_all_that_keras_can_do(options):
    images = (
        IMAGES.transpose(0, 3, 1, 2) if options.get("data_format") == "channels_first" else IMAGES
    )
    outputs = ks.ops.sparse_conv2d(images, KERNEL, MASK, **options)
    np.testing.assert_allclose(
        array(outputs), array(ops.conv(images, KERNEL * MASK, **options)), rtol=1e-4, atol=1e-5
    )


def test_groups():
    kernel, mask = KERNEL[:, :, :2], MASK[:, :, :2]
    np.testing.assert_allclose(
        array(ks.ops.sparse_conv2d(IMAGES, kernel, mask)),
        array(ops.conv(IMAGES, kernel * mask)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes(dtype):
    inputs, kernel = (ops.cast(values, dtype) for values in (IMAGES, KERNEL[0, 0]))
    outputs = ks.ops.sparse_matmul(inputs, kernel, MASK[0, 0])
    assert keras.backend.standardize_dtype(outputs.dtype) == dtype
    np.testing.assert_allclose(
        array(ops.cast(outputs, "float32")), IMAGES @ (KERNEL * MASK)[0, 0], atol=0.1
    )


def test_variables_are_taken_as_they_are():
    kernel, mask = keras.Variable(KERNEL), keras.Variable(MASK, dtype="bool", trainable=False)
    np.testing.assert_allclose(
        array(ks.ops.sparse_conv2d(IMAGES, kernel, mask)),
        array(ops.conv(IMAGES, KERNEL * MASK)),
        rtol=1e-4,
        atol=1e-4,
    )


def test_other_backends_have_no_custom_op():
    if keras.backend.backend() == "tensorflow":
        pytest.skip("this one has")
    assert not ks.ops.available()
    assert (
        ks.ops.available().reason
        == f"they are for TensorFlow, and Keras runs on {keras.backend.backend()}"
    )
    with pytest.raises(ValueError, match="Keras runs on"):
        ks.ops.sparse_matmul(IMAGES, KERNEL[0, 0], MASK[0, 0], implementation="custom_op")
