"""Batch normalizations fold into the layers in front of them, and predictions stay the same."""

import keras
import numpy as np
import pytest
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse._keras import layers_of
from keras_sparse.exporting.folding import folded
from keras_sparse.exporting.ready_model import signature_of

pytestmark = needs_ops
L = keras.layers

RNG = np.random.default_rng(0)


def trained(model):
    """The model with 30 % of its weights, and statistics as a training leaves them."""
    ks.prune(model, 0.3)
    for layer in layers_of(model):
        if isinstance(layer, L.BatchNormalization):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(RNG.normal(size=size))
            layer.moving_variance.assign(RNG.uniform(0.5, 2, size))
            if layer.scale:
                layer.gamma.assign(RNG.normal(size=size))
            if layer.center:
                layer.beta.assign(RNG.normal(size=size))
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(RNG.normal(size=layer.bias.shape))
    return ks.sparsify(model, verbose=False)


def fold(model):
    """The folded copy, after a check of its predictions and of its missing weights."""
    result = folded(model, signature_of(model, None))
    x = [RNG.normal(size=(4, *each.shape[1:])).astype("float32") for each in model.inputs]
    x = x[0] if len(x) == 1 else x
    wanted, found = np.asarray(model(x)), np.asarray(result.model(x))
    np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))
    for old, new in zip(layers_of(model), layers_of(result.model), strict=True):
        if hasattr(old, "kernel_mask"):
            for name, mask in old.kernel_masks.items():
                assert not np.asarray(getattr(new, name))[~np.asarray(mask.mask)].any()
    return result


def sequential(*body, shape=(8, 8, 16)):
    return trained(keras.Sequential([keras.Input(shape), *body]))


BEFORE = {
    "convolution": lambda: L.Conv2D(16, 3, use_bias=False),
    "convolution with a bias": lambda: L.Conv2D(16, 3, 2, "same"),
    "groups": lambda: L.Conv2D(16, 3, groups=2),
    "depthwise": lambda: L.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False),
    "separable": lambda: L.SeparableConv2D(24, 3),
    "transposed": lambda: L.Conv2DTranspose(24, 3, 2),
    "dense on images": lambda: L.Dense(24),
}


@pytest.mark.parametrize("kind", BEFORE)
def test_a_normalization_folds_into_the_linear_layer_in_front(kind):
    body = (BEFORE[kind](), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(3))
    result = fold(sequential(*body))
    assert len(result.into) == 1
    assert result.left == {}
    assert result.notes() == ("Batch normalizations folded into kernels and biases: 1.",)


@pytest.mark.parametrize("kind", [L.Conv1D, L.Conv1DTranspose, L.SeparableConv1D])
def test_convolutions_over_time_take_it_too(kind):
    body = (kind(24, 3, use_bias=False), L.BatchNormalization(scale=False), L.Dense(3))
    assert len(fold(sequential(*body, shape=(12, 16))).into) == 1


EINSUMS = {
    "a projection": ("abc,cde->abde", (None, 2, 8), "de"),
    "a projection without a bias": ("abc,cde->abde", (None, 2, 8), None),
    "heads in front": ("abc,cde->adbe", (2, None, 8), "e"),
    "a dense layer of any rank": ("...x,xy->...y", 8, "y"),
    "another kernel along an axis": ("abc,bcd->abd", (6, 8), "d"),
}


@pytest.mark.parametrize("kind", EINSUMS)
def test_einsums_take_it_too(kind):
    equation, shape, axes = EINSUMS[kind]
    body = (L.EinsumDense(equation, shape, bias_axes=axes), L.BatchNormalization(), L.Dense(3))
    assert len(fold(sequential(*body, shape=(6, 16))).into) == 1


def test_einsums_whose_bias_or_kernel_lacks_the_channels_keep_it():
    why = "the kernel, or the bias, in front lacks the last axis of the outputs"
    for equation, shape, axes in (
        ("abc,cde->abde", (None, 2, 8), "d"),
        ("abc,bd->adc", (4, 16), None),
    ):
        body = (L.EinsumDense(equation, shape, bias_axes=axes), L.BatchNormalization(), L.Dense(3))
        assert list(fold(sequential(*body, shape=(6, 16))).left.values()) == [why]


def test_dense_layers_of_vectors_take_it_too():
    body = (L.Dense(24), L.BatchNormalization(center=False), L.ReLU(), L.Dense(16, use_bias=False))
    assert len(fold(sequential(*body, L.BatchNormalization(), shape=(16,))).into) == 2


NOT_FOLDED = {
    "no convolution or dense layer is directly in front": (L.BatchNormalization(), L.Conv2D(16, 3)),
    "the layer in front has an activation": (L.Conv2D(16, 3, activation="relu"),),
    "its axis is not that of the channels": (L.Conv2D(16, 3),),
}


@pytest.mark.parametrize("why", NOT_FOLDED)
def test_the_report_names_what_stays_and_why(why):
    body = NOT_FOLDED[why]
    if len(body) == 1:
        axis = 1 if "axis" in why else -1
        body = (*body, L.BatchNormalization(axis=axis, name="bn"))
    else:
        body = (L.BatchNormalization(name="bn"), body[1])
    result = fold(sequential(*body, L.Flatten(), L.Dense(3)))
    (name,) = result.left
    assert result.left == {name: why}
    assert name.endswith("bn")
    assert result.notes() == (f"Not folded, because {why}: {name}.",)


def test_a_convolution_that_a_residual_reads_too_keeps_its_normalization():
    inputs = keras.Input((8, 8, 16))
    x = L.Conv2D(16, 3, padding="same", name="both")(inputs)
    y = L.BatchNormalization(name="bn")(x)
    z = L.BatchNormalization(name="folds")(L.Conv2D(16, 1, use_bias=False)(L.ReLU()(y)))
    result = fold(trained(keras.Model(inputs, L.Add()([x, z]))))
    assert result.left == {"bn": "something else reads the layer in front"}
    assert set(result.into) == {"folds"}


def test_a_convolution_whose_output_the_model_returns_keeps_its_normalization():
    inputs = keras.Input((8, 8, 16))
    x = L.Conv2D(16, 3, name="out")(inputs)
    model = trained(keras.Model(inputs, [x, L.BatchNormalization(name="bn")(x)]))
    result = folded(model, signature_of(model, None))
    assert result.left == {"bn": "something else reads the layer in front"}


def test_shared_layers_fold_if_all_their_calls_are_pairs():
    inputs = keras.Input((8, 8, 16))
    conv, norm = L.Conv2D(16, 3, padding="same"), L.BatchNormalization(name="bn")
    pairs = trained(keras.Model(inputs, norm(conv(L.ReLU()(norm(conv(inputs)))))))
    assert set(fold(pairs).into) == {"bn"}
    conv, norm = L.Conv2D(16, 3, padding="same"), L.BatchNormalization(name="bn")
    broken = trained(keras.Model(inputs, conv(L.ReLU()(norm(conv(inputs))))))
    assert fold(broken).left == {"bn": "something else reads the layer in front"}


def test_nested_and_subclassed_models_fold():
    block = keras.Sequential(
        [keras.Input((8, 8, 16)), L.Conv2D(16, 3, padding="same"), L.BatchNormalization()]
    )

    class Twice(keras.Model):
        def __init__(self):
            super().__init__()
            self.block, self.last = block, L.BatchNormalization()
            self.dense, self.shared = L.Dense(24), L.Dense(24)
            self.norm = L.BatchNormalization()

        def call(self, x):
            x = self.block(keras.ops.relu(self.block(x)))
            x = self.last(self.dense(x))
            return self.norm(self.shared(x[:, 0])) + keras.ops.sum(self.shared.kernel)

    model = Twice()
    x = RNG.normal(size=(4, 8, 8, 16)).astype("float32")
    model(x)
    model = trained(model)
    result = folded(model, [keras.InputSpec("float32", shape=(None, 8, 8, 16))])
    wanted, found = (np.asarray(m(x)) for m in (model, result.model))
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    assert len(result.into) == 2
    (why,) = result.left.values()
    assert why == "something else reads the weights of the layer in front"


def test_a_normalization_that_is_called_in_training_stays():
    class Training(L.Layer):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = L.Conv2D(16, 3), L.BatchNormalization(name="bn")

        def call(self, x):
            return self.norm(self.conv(x), training=True)

    (why,) = fold(sequential(Training())).left.values()
    assert why == "it is called with training=True"


def test_the_model_stays_unchanged():
    model = sequential(L.Conv2D(16, 3), L.BatchNormalization())
    before = [np.array(weight) for weight in model.get_weights()]
    fold(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert all(layer.trainable for layer in layers_of(model))
    assert not any("call" in vars(layer) for layer in layers_of(model))


PADDED = {  # zeros, convolution behind; images are 8x9
    "stride 2, even and odd": (((0, 1), (1, 1)), lambda: L.Conv2D(16, 3, 2)),
    "stride 1": (1, lambda: L.Conv2D(16, 3)),
    "depthwise": (((0, 1), (1, 1)), lambda: L.DepthwiseConv2D(3, 2)),
    "five taps": (((1, 2), (2, 2)), lambda: L.Conv2D(16, 5, 2, use_bias=False)),
}


@pytest.mark.parametrize("kind", PADDED)
def test_zeros_that_the_convolution_behind_can_add_are_left_to_it(kind):
    zeros, layer = PADDED[kind]
    body = (L.Conv2D(16, 1), L.ZeroPadding2D(zeros), layer(), L.BatchNormalization(), L.Dense(3))
    result = fold(sequential(*body, shape=(8, 9, 16)))
    assert (len(result.padded), len(result.into)) == (1, 1)
    assert result.notes()[-1] == "Zero paddings left to the convolutions behind: 1."


NOT_PADDED = {
    "more zeros": (2, lambda: L.Conv2D(16, 3)),
    "zeros on the other side": (((1, 0), (1, 1)), lambda: L.Conv2D(16, 3, 2)),
    "padding of its own": (1, lambda: L.Conv2D(16, 3, padding="same")),
    "dilation": (1, lambda: L.Conv2D(16, 3, dilation_rate=2)),
    "not directly behind": (1, lambda: L.ReLU()),
}


@pytest.mark.parametrize("kind", NOT_PADDED)
def test_other_zeros_stay(kind):
    zeros, layer = NOT_PADDED[kind]
    result = fold(sequential(L.ZeroPadding2D(zeros), layer(), L.Dense(3), shape=(8, 9, 16)))
    assert result.padded == {}


def test_zeros_that_something_else_reads_stay():
    inputs = keras.Input((8, 8, 16))
    padded = L.ZeroPadding2D(1)(inputs)
    outputs = [L.Conv2D(16, 3)(padded), L.GlobalAveragePooling2D()(padded)]
    assert folded_of(keras.Model(inputs, outputs)).padded == {}


def folded_of(model):
    sparse = trained(model)
    return folded(sparse, signature_of(sparse, None))


def test_sizes_that_are_not_known_keep_their_zeros():
    body = (L.ZeroPadding2D(1), L.Conv2D(16, 3), L.GlobalAveragePooling2D())
    model = keras.Sequential([keras.Input((None, None, 16)), *body])
    assert folded_of(model).padded == {}
