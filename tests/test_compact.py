"""Compact models compute the same with fewer channels; what has no rule stays as it is."""

import keras
import numpy as np
import pytest
from helpers import array, compiled, fit, toy_model

import keras_sparse as ks

backend = pytest.mark.backend
L = keras.layers
RNG = np.random.default_rng(0)


def emptied(model, share=0.4):
    """Random weights everywhere, and kernels without some rows and columns of channels."""
    for layer in model.layers:
        values = [RNG.normal(size=v.shape) for v in layer.weights]
        values = [
            v**2 if "var" in w.path else v for v, w in zip(values, layer.weights, strict=True)
        ]
        is_separable = hasattr(layer, "pointwise_kernel")
        if hasattr(layer, "kernel") or is_separable:
            kernel = values[is_separable]
            if kernel.shape[-2] > 3:
                kernel[..., RNG.random(kernel.shape[-2]) < share, :] = 0
            kernel[..., RNG.random(kernel.shape[-1]) < share] = 0
        layer.set_weights(values)
    return model


def assert_computes_the_same(model, small, x=None):
    x = RNG.normal(size=(3, *model.input_shape[1:])).astype("float32") if x is None else x
    for one, other in zip(keras.tree.flatten(model(x)), keras.tree.flatten(small(x)), strict=True):
        one = np.asarray(one)
        np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-5 * np.abs(one).max())


def two_layers(first, second, bias=True):
    """Dense layers of these kernels; biases 1, 2, ... of the first one."""
    model = keras.Sequential(
        [
            keras.Input((len(first),)),
            L.Dense(len(first[0]), "relu", use_bias=bias),
            L.Dense(len(second[0]), use_bias=bias),
        ]
    )
    bias = [np.arange(1.0, len(first[0]) + 1)] if bias else []
    model.layers[0].set_weights([np.array(first, float), *bias])
    model.layers[1].set_weights([np.array(second, float), *[np.zeros(len(second[0]))] * len(bias)])
    return model


@backend
def test_a_unit_that_nobody_reads_goes():
    model = two_layers([[1, 1, 1]], [[1], [0], [1]])
    small = ks.compact(model)
    assert [layer.name for layer in small.layers] == [layer.name for layer in model.layers]
    np.testing.assert_array_equal(small.layers[0].get_weights()[1], [1, 3])
    assert_computes_the_same(model, small)


@backend
def test_a_constant_unit_moves_into_the_bias_of_its_reader():
    small = ks.compact(two_layers([[1, 0, 1]], [[1], [10], [1]]))
    np.testing.assert_array_equal(small.layers[1].get_weights()[1], [20])  # bias 2 times weight 10
    assert small.layers[0].units == 2


def test_without_a_bias_a_constant_unit_is_zero_and_none_is_added():
    small = ks.compact(two_layers([[1, 0, 1]], [[1], [10], [1]], bias=False))
    assert [v.shape for v in small.weights] == [(1, 2), (2, 1)]


def test_units_that_only_removed_units_read_go_with_them():
    model = keras.Sequential([keras.Input((4,)), L.Dense(3), L.Dense(3), L.Dense(2)])
    kernels = np.eye(4, 3), np.eye(3), np.array([[1, 1], [1, 1], [0, 0]])
    for layer, kernel in zip(model.layers, kernels, strict=True):
        layer.set_weights([kernel, np.zeros(kernel.shape[1])])
    assert [layer.units for layer in ks.compact(model).layers] == [2, 2, 2]


def test_one_channel_stays_where_all_are_dead():
    model = two_layers([[0, 0]], [[0], [0]])
    small = ks.compact(model)
    assert small.layers[0].units == 1
    assert_computes_the_same(model, small)


@pytest.mark.parametrize(("padding", "filters"), [("valid", 1), ("same", 2)])
def test_a_constant_stays_where_padding_gives_it_a_border(padding, filters):
    model = keras.Sequential(
        [keras.Input((5, 5, 1)), L.Conv2D(2, 1), L.Conv2D(3, 3, padding=padding)]
    )
    kernel = np.array([1.0, 0]).reshape(1, 1, 1, 2)
    model.layers[0].set_weights([kernel, np.array([1.0, 2])])
    small = ks.compact(model)
    assert small.layers[0].filters == filters
    assert_computes_the_same(model, small)


def test_a_constant_goes_through_a_separable_convolution():
    model = keras.Sequential([keras.Input((5, 1)), L.Conv1D(2, 1), L.SeparableConv1D(1, 2)])
    model.layers[0].set_weights([np.array([[[1.0, 0]]]), np.array([1.0, 2])])
    depthwise = np.array([[[3.0], [4]], [[5], [6]]])  # two taps, two channels
    model.layers[1].set_weights([depthwise, np.array([[[1.0], [10]]]), np.array([7.0])])
    small = ks.compact(model)
    assert small.layers[0].filters == 1
    found = [array(weight).reshape(-1).tolist() for weight in small.layers[1].weights]
    assert found == [[3, 5], [1], [7 + 2 * (4 + 6) * 10]]


def residual():
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(12, 3, padding="same", use_bias=False)(image)
    x = L.ReLU()(L.BatchNormalization()(x))
    y = L.Conv2D(12, 3, padding="same", use_bias=False)(x)
    y = L.BatchNormalization(scale=False)(y)
    x = L.Activation("relu")(L.Add()([x, y]))
    return keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D()(x)))


def joined():
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(10, 3, strides=2, activation="relu")(image)
    y = L.MaxPooling2D(2)(L.Conv2D(6, 1, padding="same")(image))
    x = L.Concatenate()([L.ZeroPadding2D(((0, 1), (1, 0)))(x), y])
    x = L.Conv2D(9, 3)(L.Dropout(0.5)(x))
    return keras.Model(image, [L.Dense(5, "softmax")(L.Flatten()(x)), L.Dense(3)(x)])


def separated():
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(12, 1, activation="relu")(image)
    x = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)(x)
    x = L.Conv2D(12, 1)(L.ReLU(6.0)(L.BatchNormalization()(x)))
    gate = L.Dense(12, "sigmoid")(L.Dense(4, "relu")(L.GlobalAveragePooling2D(keepdims=True)(x)))
    return keras.Model(image, L.Conv2D(2, 1)(L.Multiply()([x, gate])))


def separable():
    image = keras.Input((8, 8, 3))
    x = L.SeparableConv2D(12, 3, padding="same", activation="relu")(image)
    x = L.SeparableConv2D(10, 3, depth_multiplier=2, use_bias=False)(x)
    x = L.SeparableConv2D(8, 2, strides=2)(L.BatchNormalization()(x))
    return keras.Model(image, L.Dense(2)(L.GlobalMaxPooling2D()(x)))


def sequences():
    return keras.Sequential(
        [keras.Input((9, 4)), L.Conv1D(8, 3, activation="gelu"), L.Conv1D(8, 2), L.Dense(3)]
    )


@pytest.mark.parametrize("make", [residual, joined, separated, separable, sequences])
def test_networks_compute_the_same_with_fewer_weights(make):
    model = emptied(make())
    small = ks.compact(model)
    assert small.count_params() < 0.9 * model.count_params()
    assert_computes_the_same(model, small)
    assert_computes_the_same(small, ks.compact(small))


def test_layers_without_a_rule_keep_their_channels(capsys):
    image = keras.Input((6, 6, 3))
    twice = L.Conv2D(8, 3, padding="same", name="twice")
    x = L.Conv2D(8, 3, padding="same", name="read_by_twice")(image)
    x = twice(twice(x))
    x = L.LayerNormalization(name="mixes")(L.Conv2D(8, 3, name="read_by_norm")(x))
    x = L.Conv2D(8, 1, groups=2, name="grouped")(x)
    inner = keras.Sequential([keras.Input((4, 4, 8)), L.Conv2D(8, 1)], name="inner")
    model = emptied(keras.Model(image, L.Dense(2, name="head")(keras.ops.sin(inner(x)))))
    small = ks.compact(model, verbose=True)
    assert_computes_the_same(model, small)
    assert [v.shape for v in small.weights] == [v.shape for v in model.weights]
    printed = " ".join(capsys.readouterr().out.split())
    for reason in ("called more than once", "no rule for LayerNormalization", "groups of channels"):
        assert reason in printed


@backend
def test_a_sparse_model_becomes_one_of_stock_layers():
    model = compiled(model=ks.sparsify(toy_model()))
    fit(model, ks.UpdateMasks())
    hidden = model.get_layer("hidden")
    kernel = np.array(hidden.kernel)
    kernel[:, :5] = 0
    hidden.kernel.assign(kernel)
    small = ks.compact(model)
    assert type(small.get_layer("hidden")) is L.Dense
    assert small.get_layer("hidden").units <= hidden.units - 5
    assert_computes_the_same(model, small)


def test_a_compact_model_is_saved_and_trained(tmp_path):
    small = ks.compact(emptied(residual()))
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    assert_computes_the_same(small, loaded)
    loaded.compile("sgd", "mse")
    loaded.fit(np.zeros((2, 8, 8, 3)), np.zeros((2, 2)), verbose=0)


@pytest.mark.parametrize("sparsify", [False, True])
def test_a_compiled_model_with_masks_of_its_own_becomes_one_that_is_not_compiled(sparsify):
    model = two_layers([[1, 0, 1, 1]] * 4, [[1, 1], [1, 1], [0, 0], [1, 1]])
    masks = {each.path: array(each) != 0 for each in model.weights if len(each.shape) == 2}
    density = sum(mask.sum() for mask in masks.values()) / sum(m.size for m in masks.values())
    model = ks.sparsify(model, verbose=False) if sparsify else model
    model.compile(ks.StaticSparsity("sgd", float(density), initial_masks=masks), "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0, callbacks=[ks.UpdateMasks()])
    small = ks.compact(model)
    assert not small.compiled
    assert model.compiled
    assert small.count_params() < model.count_params()
    assert_computes_the_same(model, small)


def test_subclassed_models_are_refused():
    class Own(keras.Model):
        pass

    with pytest.raises(ValueError, match="`model` must be a functional or Sequential model"):
        ks.compact(Own())
    with pytest.raises(ValueError, match="that is built"):
        ks.compact(keras.Sequential([L.Dense(2)]))


def test_layers_that_stay_keep_what_no_config_has():
    class Doubled(L.Layer):  # without a get_config
        def __init__(self, scale):
            super().__init__()
            self.scale = scale

        def call(self, inputs):
            return self.scale * inputs

    class Halves(keras.initializers.Initializer):  # of no registered class
        def __call__(self, shape, dtype=None):
            return keras.ops.full(shape, 0.5, dtype)

    words = L.StringLookup(vocabulary=["a", "b", "c"], output_mode="multi_hot")
    model = keras.Sequential(
        [
            keras.Input((2,), dtype="string"),
            words,
            L.Dense(5, "relu", kernel_initializer=Halves()),
            L.Dense(3),
            Doubled(2.0),
            L.Lambda(lambda x: x + 1),
        ]
    )
    kernel = array(model.layers[1].kernel)
    kernel[:, 1] = 0
    model.layers[1].kernel.assign(kernel)
    small = ks.compact(model)
    assert small.layers[1].units == 4
    x = keras.ops.convert_to_tensor([["a", "c"], ["b", "?"]])
    assert_computes_the_same(model, small, x)
    assert set(map(id, small.variables)).isdisjoint(map(id, model.variables))
    assert small.layers[-1].output is small.outputs[0]
