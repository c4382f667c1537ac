"""sparsify and densify: the same model with other layers."""

import keras
import numpy as np
import pytest
from branched import branches
from helpers import array, arrays, assert_same, compiled, fit, sgd, sparse, toy_data, toy_model

import keras_sparse as ks
from keras_sparse._keras import layers_of

backend = pytest.mark.backend
SparseConv2D, SparseDense = ks.layers.SparseConv2D, ks.layers.SparseDense
X = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype("float32")


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
        ValueError, match="must have weights: give it a keras.Input, or call it on a batch"
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
