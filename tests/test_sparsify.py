"""sparsify and densify: the same model with other layers."""

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same, compiled, fit, sgd, sparse, toy_data, toy_model

import keras_sparse as ks
from keras_sparse._keras import layers_of
from keras_sparse.conversion.convertible import why_dense

backend = pytest.mark.backend
SparseConv2D, SparseDense = ks.layers.SparseConv2D, ks.layers.SparseDense
X = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")


def branches():
    """A Functional model with a model in it, a shared layer, two outputs, and layers that stay."""
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            keras.layers.Conv2D(4, 3, name="in_it"),
            keras.layers.BatchNormalization(name="norm"),
        ],
        name="inner",
    )
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 1, name="stem", activation="relu", kernel_regularizer="l2")(image)
    x = keras.layers.Conv2D(4, 3, padding="same", groups=4, name="grouped")(x)
    x = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="dilated")(x)
    x = keras.layers.Flatten()(inner(x) + inner(-x))
    shared = keras.layers.Dense(8, name="shared")
    return keras.Model(
        image,
        {"a": shared(x), "b": keras.layers.Dense(2, name="last", trainable=False)(shared(2 * x))},
        name="branches",
    )


def types(model):
    return {layer.name: type(layer) for layer in layers_of(model)}


def predict(model, x=X):
    return keras.tree.flatten(model.predict(x, verbose=0))


@backend
def test_conv2d_and_dense_become_sparse_and_the_rest_stays():
    model = branches()
    found = types(ks.sparsify(model))
    assert {name for name, kind in found.items() if kind is SparseConv2D} == {
        "stem",
        "in_it",
        "dilated",
    }
    assert {name for name, kind in found.items() if kind is SparseDense} == {"shared", "last"}
    assert found["grouped"] is keras.layers.Conv2D
    assert set(types(model).values()).isdisjoint(
        {SparseConv2D, SparseDense}
    )  # the model given is as it was


@backend
def test_names_weights_and_outputs_are_the_same():
    model = branches()
    sparse_model = ks.sparsify(model)
    assert sparse_model.name == model.name
    assert [v.path for v in sparse_model.weights] == [v.path for v in model.weights]
    assert [v.path for v in sparse_model.trainable_variables] == [
        v.path for v in model.trainable_variables
    ]
    assert_same(sparse_model.get_weights(), model.get_weights())
    for one, other in zip(predict(sparse_model), predict(model), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@backend
def test_there_and_back():
    model = branches()
    again = ks.densify(ks.sparsify(model))
    assert types(again) == types(model)
    assert again.get_layer("stem").get_config() == model.get_layer("stem").get_config()
    assert_same(again.get_weights(), model.get_weights())


@backend
def test_subclasses_stay_as_they_are():
    class Mine(keras.layers.Dense):
        pass

    model = ks.sparsify(
        keras.Sequential(
            [keras.Input((8,)), Mine(4, name="mine"), keras.layers.Dense(4, name="plain")]
        )
    )
    assert types(model) == {"mine": Mine, "plain": SparseDense} | {
        k: v for k, v in types(model).items() if v is keras.layers.InputLayer
    }


@backend
def test_without_zeros_the_masks_are_true():
    model = ks.sparsify(toy_model())
    assert all(array(layer.mask).all() for layer in model.layers)


@backend
def test_zeros_of_a_sparse_model_are_missing_weights():
    model = toy_model()
    kernel = model.layers[0].kernel
    mask = np.random.default_rng(0).random(kernel.shape) < 0.25
    kernel.assign(array(kernel) * mask)
    model.layers[1].kernel.assign(np.zeros((16, 4)))  # a layer that starts at zero is no sparse one
    model = ks.sparsify(model)
    assert_same(arrays([layer.mask for layer in model.layers]), [mask, np.ones((16, 4), bool)])


@backend
def test_masks_of_a_trained_model_come_along():
    model = compiled(sparse())
    fit(model, ks.UpdateMasks())
    optimizer = model.optimizer
    converted = ks.sparsify(model)
    assert_same(arrays([layer.mask for layer in converted.layers]), list(optimizer.masks.values()))
    x, _ = toy_data()
    np.testing.assert_allclose(predict(converted, x)[0], predict(model, x)[0], rtol=1e-5, atol=1e-6)
    assert not converted.compiled
    assert model.compiled
    assert model.optimizer is optimizer
    converted.compile(
        ks.SparseMomentum(sgd(), 0.25, initial_masks="nonzero"), "mse"
    )  # goes on with these masks
    converted.optimizer.build(converted)
    assert_same(list(converted.optimizer.masks.values()), list(optimizer.masks.values()))


@backend
def test_sparse_models_train_as_dense_ones_do():
    dense_model = toy_model()
    models = [dense_model, ks.sparsify(dense_model)]
    for model in models:
        compiled(sparse(growth_window=None), model)
        fit(model, ks.UpdateMasks())
    assert_same(*[list(model.optimizer.masks.values()) for model in models])
    for one, other in zip(*[model.get_weights() for model in models], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@backend
def test_dense_weights_are_those_that_the_masks_leave():
    model = ks.sparsify(toy_model())
    mask = np.random.default_rng(0).random((8, 16)) < 0.5
    model.layers[0].set_mask(mask)
    dense_model = ks.densify(model)
    assert_same([array(dense_model.layers[0].kernel)], [array(model.layers[0].kernel) * mask])
    x, _ = toy_data()
    np.testing.assert_allclose(
        predict(dense_model, x)[0], predict(model, x)[0], rtol=1e-5, atol=1e-6
    )


@backend
def test_sparse_layers_stay_sparse_with_their_masks():
    model = ks.sparsify(toy_model(), implementation="stock")
    model.layers[0].set_mask(np.eye(8, 16, dtype=bool))
    again = ks.sparsify(model)
    assert again.layers[0].implementation == "stock"
    assert_same(arrays([again.layers[0].mask]), [np.eye(8, 16, dtype=bool)])


class Unbuilt(keras.Model):
    def call(self, inputs):
        return inputs


@backend
@pytest.mark.parametrize("make", [Unbuilt, lambda: keras.Sequential([keras.layers.Dense(4)])])
@pytest.mark.parametrize("function", [ks.sparsify, ks.densify])
def test_a_model_without_weights_is_refused_with_what_to_do(make, function):
    with pytest.raises(
        ValueError,
        match="must have weights: give it a keras.Input, or call it on a batch",
    ):
        function(make())


@backend
def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="must be a keras.Model"):
        ks.sparsify(keras.layers.Dense(4))


@backend
def test_layers_without_weights_yet_are_converted_too():
    class HalfBuilt(keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = toy_model(8), keras.layers.Dense(2)

        def call(self, inputs):
            return self.head(self.backbone(inputs))

    model = ks.sparsify(HalfBuilt())
    assert (type(model.head), model.head.built) == (SparseDense, False)
    assert model(toy_data()[0]).shape == (32, 2)
    assert model.head.mask.shape == (8, 2)


# --- what is reported


@backend
def test_one_line_says_what_stays_dense(capsys):
    ks.sparsify(branches())
    assert capsys.readouterr().out == (
        "sparsify: 5 layers converted, 1 stays dense: 1 Conv2D (groups is 4, of one channel "
        "each). "
        "verbose=True lists them.\n"
    )


@backend
@pytest.mark.parametrize(("make", "verbose"), [(toy_model, "auto"), (branches, False)])
def test_nothing_is_said_where_all_is_converted_or_verbose_is_off(make, verbose, capsys):
    ks.sparsify(make(), verbose=verbose)
    assert capsys.readouterr().out == ""


@backend
def test_a_table_lists_the_layers(capsys):
    ks.sparsify(branches(), verbose=True)
    out = capsys.readouterr().out
    for words in (
        ["stem", "Conv2D", "SparseConv2D"],
        ["grouped", "Conv2D", "groups is 4, of one channel each"],
        ["norm", "FusedBatchNormalization"],
    ):
        assert any(all(word in line for word in words) for line in out.splitlines()), (words, out)


@backend
def test_a_warning_says_that_nothing_was_converted():
    layers = [
        keras.Input((3, 3, 3, 2)),
        keras.layers.TimeDistributed(keras.layers.DepthwiseConv2D(2)),
        keras.layers.Conv3D(4, 2),
    ]
    with pytest.warns(
        UserWarning,
        match=r"converted no layer of this model.*1 Conv3D \(kernel_size is \(2, 2, 2\)\)",
    ):
        ks.sparsify(keras.Sequential(layers))


@backend
def test_verbose_is_checked():
    with pytest.raises(ValueError, match='`verbose` must be True, False or "auto"'):
        ks.sparsify(toy_model(), verbose="loud")


L = keras.layers


@backend
@pytest.mark.parametrize(
    ("layer", "shape", "why"),
    [
        (lambda: L.Conv2D(4, 3, groups=2), (4, 4, 2), "groups is 2, of one channel each"),
        (lambda: L.Conv2D(4, 3, groups=2), (4, 4, 4), None),
        (lambda: L.Conv2D(4, 2, dilation_rate=2), (4, 4, 2), None),
        (
            lambda: L.Conv2D(4, 3, data_format="channels_first"),
            (2, 4, 4),
            "data_format is channels_first, not channels_last",
        ),
        (lambda: type("Mine", (L.Dense,), {})(4), (8,), "subclass of Dense"),
        (lambda: L.Dense(4, lora_rank=2), (8,), "LoRA"),
        (lambda: L.EinsumDense("ab,bc->ac", 4), (8,), None),
        (
            lambda: L.EinsumDense("ab,cb->ac", 4),
            (8,),
            'the einsum "ab,cb->ac" would have to transpose the kernel',
        ),
        (lambda: L.Conv1D(4, 3, padding="causal"), (8, 2), None),
        (lambda: L.Conv1D(4, 3, dilation_rate=2), (8, 2), None),
        (lambda: L.SeparableConv2D(4, 3, dilation_rate=2), (8, 8, 2), None),
        (lambda: L.DepthwiseConv2D(3), (4, 4, 2), "no sparse layer for DepthwiseConv2D"),
        (lambda: L.Embedding(4, 2), (8,), "no sparse layer for Embedding"),
        (lambda: L.Dense(4), (8,), None),
        (lambda: L.BatchNormalization(), (8,), None),
    ],
)
def test_every_kernel_that_stays_dense_has_a_reason(layer, shape, why):
    made = layer()
    made.build((None, *shape))
    assert why_dense(made) == why


@backend
def test_the_policy_of_each_layer_comes_along(policy):
    policy("mixed_float16")
    model = branches()
    policy("float32")
    converted = ks.sparsify(model)
    assert (
        converted.get_layer("stem").dtype_policy.name
        == converted.get_layer("shared").dtype_policy.name
        == "mixed_float16"
    )
    assert converted.get_layer("stem").implementation_used == "stock"


@backend
def test_the_summary_says_which_kernel_runs():
    own = type("Mine", (keras.layers.Dense,), {})(4, name="own")
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8, name="stem"), own])
    model = ks.sparsify(model, implementation="stock", verbose=False)
    rows = ks.summary(model, "dict")["layers"]
    assert [row["runs_as"] for row in rows] == [
        'stock: implementation="stock"',
        "stock: not a sparse layer (subclass of Dense)",
    ]
    assert all("runs_as" not in layer for layer in ks.summary(toy_model(), "dict")["layers"])


@backend
def test_the_summary_has_a_column_for_it(capsys):
    ks.summary(ks.sparsify(toy_model(), implementation="stock"))
    out = capsys.readouterr().out
    assert "stock:" in out
