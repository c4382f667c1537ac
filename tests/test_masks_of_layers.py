"""Every sparse layer keeps its masks: beside weights, in files, in training and when frozen."""

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same
from layer_twins import (
    KINDS,
    assert_masked,
    built,
    each_kind,
    each_single_layer,
    examples,
    kernels_of,
    masks_of,
    model_of,
    path_of_mask,
    random_mask,
    twins,
)
from steps_by_hand import step_by_hand

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of

backend = pytest.mark.backend
THREE = ["Conv2D", "LSTM", "MultiHeadAttention"]  # trained by `fit`


@backend
@each_kind
def test_the_summary_has_a_row_for_every_kernel(name):
    _, model = twins(name, implementation="stock")
    rows = ks.summary(model, "dict")["layers"]
    kernels = kernels_of(model.layers[1])
    assert [row["weight"] for row in rows] == [kernel.path for kernel in kernels]
    assert [row["active"] for row in rows] == [mask.sum() for mask in masks_of(model.layers[1])]
    assert {row["runs_as"] for row in rows} == {'stock: implementation="stock"'}


@backend
@each_kind
def test_masks_are_true_at_first_state_and_no_weights(name):
    dense, sparse = KINDS[name].dense(name="it"), KINDS[name].sparse(name="it")
    models = [model_of(layer, name) for layer in (dense, sparse)]
    assert [v.path for v in sparse.weights] == [v.path for v in dense.weights]
    assert models[1].count_params() == models[0].count_params()
    kernels = kernels_of(sparse)
    assert tuple(kernel.name for kernel in kernels) == KINDS[name].kernels
    for kernel in kernels:
        kernel_mask = kernel_mask_of(kernel)
        assert array(kernel_mask.mask).all()
        for state in kernel_mask.variables:
            assert any(state is variable for variable in models[1].variables)
            assert any(state is variable for variable in models[1].non_trainable_variables)
    paths = [kernel_mask_of(kernel).mask.path for kernel in kernels]
    assert paths == [path_of_mask(kernel) for kernel in kernels]


@each_kind
def test_masks_follow_weights_that_come_without_one(name):
    _, one = twins(name)
    other = model_of(KINDS[name].sparse(name="it"), name)
    other.set_weights(one.get_weights())
    assert_same(masks_of(other.layers[1]), masks_of(one.layers[1]))


@backend
@each_single_layer
def test_set_mask_masks_the_kernel_and_refuses_another_shape(name):
    layer = built(KINDS[name].sparse(), name)
    kernel = kernels_of(layer)[0]
    mask = random_mask(kernel.shape)
    layer.set_mask(mask)
    assert_same([array(layer.mask)], [mask])
    assert array(kernel)[mask].all()
    assert not array(kernel)[~mask].any()
    with pytest.raises(ValueError, match="`mask` must be bool, of the kernel's shape"):
        layer.set_mask(mask[0])


class WeightsAtEveryBatch(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        assert_masked(self.model.layers[1])


def by_hand(model, name):
    model.optimizer.start_training(6)
    for step in range(6):
        step_by_hand(model.optimizer, model.trainable_variables)
        assert_masked(model.layers[1])
        if step == 3:
            model.optimizer.update_masks()


def by_fit(model, name):
    inputs = examples(name, 8)
    data = inputs, 1 + array(model(inputs))
    callbacks = [ks.UpdateMasks(every=2), WeightsAtEveryBatch()]
    model.fit(*data, batch_size=2, verbose=0, callbacks=callbacks)


@backend
@each_kind
def test_a_sparse_optimizer_takes_the_masks_of_the_layer(name):
    layer = KINDS[name].sparse()
    model = model_of(layer, name)
    model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.01, momentum=0.9), 0.25), "mse")
    model.optimizer.build(model)
    before = masks_of(layer)
    (by_fit if name in THREE else by_hand)(model, name)
    assert_same(masks_of(layer), list(model.optimizer.masks.values()))
    assert any((one != other).any() for one, other in zip(before, masks_of(layer), strict=True))
    weights = sum(mask.size for mask in before)
    assert sum(mask.sum() for mask in masks_of(layer)) == round(0.25 * weights)


@backend
@pytest.mark.parametrize("name", THREE)
def test_a_frozen_layer_stays_as_it_is(name):
    _, model = twins(name)
    layer = model.layers[1]
    layer.trainable = False
    outputs = keras.layers.Dense(2, name="head")(keras.layers.Flatten()(model.output))
    model = keras.Model(model.input, outputs)
    kept, masks = arrays(layer.weights), masks_of(layer)
    optimizer = ks.StaticSparsity(keras.optimizers.SGD(0.01, momentum=0.9), 0.5)
    eagerly = name != "Conv2D"  # one graph is enough
    model.compile(optimizer, "mse", run_eagerly=eagerly)
    if eagerly:
        optimizer.build(model)
    model.fit(examples(name), np.ones((4, 2)), verbose=0)
    assert_same(arrays(layer.weights), kept)
    assert_same(masks_of(layer), masks)
    assert [path.split("/")[-2] for path in model.optimizer.masks] == ["head"]
