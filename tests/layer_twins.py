"""A sparse layer beside the Keras layer of the same weights: what tests of all layers need."""

import keras
import numpy as np
import pytest
from helpers import array, arrays
from layer_kinds import KINDS as FULLY_TESTED
from layer_kinds import VARIANTS

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of

custom_ops = keras.backend.backend() == "tensorflow" and bool(ks.ops.available())
KINDS = {**FULLY_TESTED, **VARIANTS}
each_kind = pytest.mark.parametrize("name", FULLY_TESTED)
each_single_layer = pytest.mark.parametrize(
    "name",
    [n for n, kind in FULLY_TESTED.items() if isinstance(kind.sparse(), ks.layers.SparseLayer)],
)
DENSITY = 0.1


def examples(name, batch=4):
    return np.random.default_rng(0).normal(size=(batch, *KINDS[name].shape)).astype("float32")


def model_of(layer, name):
    inputs = keras.Input(KINDS[name].shape)
    return keras.Model(inputs, KINDS[name].call(layer, inputs), name="net")


def built(layer, name):
    model_of(layer, name)
    return layer


def kernels_of(layer):
    """The masked weights, each with its KernelMask."""
    return [variable for variable in layer.weights if kernel_mask_of(variable) is not None]


def masks_of(layer):
    return arrays([kernel_mask_of(kernel).mask for kernel in kernels_of(layer)])


def path_of_mask(kernel):
    """``conv/mask`` for ``conv/kernel``; ``recurrent_mask`` for ``recurrent_kernel``."""
    folder, _, name = kernel.path.rpartition("/")
    return f"{folder}/{name.replace('pointwise_', '').replace('kernel', 'mask')}"


def random_mask(shape, density=DENSITY):
    return np.random.default_rng(2).random(shape) < density


def with_masks(layer, density=DENSITY):
    """The layer, with a random mask on every kernel."""
    for kernel in kernels_of(layer):
        kernel_mask_of(kernel).assign(random_mask(kernel.shape, density))
        kernel_mask_of(kernel).mask_kernel()
    return layer


def twins(name, density=DENSITY, dtype="float32", **settings):
    """A sparse layer with random masks, and the Keras layer with the masked weights."""
    common = {"name": "it", "dtype": dtype}
    layers = [KINDS[name].dense(**common), KINDS[name].sparse(**common, **settings)]
    dense, sparse = (model_of(layer, name) for layer in layers)
    rng = np.random.default_rng(1)
    sparse.set_weights([0.3 * rng.normal(size=weight.shape) for weight in dense.get_weights()])
    with_masks(layers[1], density)
    dense.set_weights(sparse.get_weights())
    return dense, sparse


def close(one, other, tolerance=1e-4):
    np.testing.assert_allclose(array(one), array(other), rtol=tolerance, atol=tolerance)


def assert_masked(layer):
    """Weights are 0 wherever the masks are False."""
    for kernel, mask in zip(kernels_of(layer), masks_of(layer), strict=True):
        assert not array(kernel)[~mask].any()
