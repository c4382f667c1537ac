"""Masks of the optimizer: made of the right weights, set, whole in blocks."""

import keras
import numpy as np
import pytest
from helpers import (
    active,
    array,
    assert_masks_hold,
    assert_same,
    assert_sparse,
    built,
    compiled,
    fit,
    sgd,
    sparse,
    toy_data,
    toy_model,
)

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.training import masked_optimizer

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


@backend
def test_the_masks_are_there_and_applied_when_built():
    model = built()
    assert {path: mask.sum() for path, mask in model.optimizer.masks.items()} == {
        HIDDEN: 32,
        HEAD: 16,
    }
    for variable, mask in zip(
        model.optimizer.masked_variables, model.optimizer.masks.values(), strict=True
    ):
        np.testing.assert_array_equal(array(variable) != 0, mask)
    assert model.optimizer.total_density() == 0.25


def test_a_layer_that_is_trained_dense_loses_a_mask_that_it_got_after_build():
    model = compiled(sparse(dense="head"), ks.sparsify(toy_model(), verbose=False))
    model.optimizer.build(model)
    mask = kernel_mask_of(model.layers[1].kernel)
    mask.assign(np.eye(16, 4, dtype=bool))  # as a file of weights brings one
    model.optimizer.attach(model)
    assert mask.density() == 1


def test_a_layer_that_is_trained_dense_has_no_mask_once_it_is_built_and_a_frozen_one_may():
    model = ks.sparsify(toy_model(), verbose=False)
    eye, mask = np.eye(16, 4, dtype=bool), kernel_mask_of(model.layers[1].kernel)
    mask.assign(eye)
    optimizer = sparse(dense="head")
    optimizer.build(model)
    assert mask.density() == 1
    mask.assign(eye)
    model.layers[1].trainable = False
    optimizer.attach(model)
    assert mask.density() == 1 / 16


def test_layer_types_need_the_model():
    optimizer, model = ks.SparseMomentum(sgd(), 0.25, dense=keras.layers.EinsumDense), toy_model()
    optimizer.build(model.trainable_variables)
    with pytest.raises(
        ValueError, match=r"the model is not known. Call `optimizer.build\(model\)` first"
    ):
        optimizer.apply(
            [keras.ops.zeros_like(v) for v in model.trainable_variables], model.trainable_variables
        )


def test_masks_made_without_the_model_are_checked_against_it():
    layers = [
        keras.Input((8, 8, 3)),
        keras.layers.DepthwiseConv2D(3, depth_multiplier=2, name="taps"),
        keras.layers.Flatten(),
        keras.layers.Dense(4),
    ]
    model = compiled(ks.SparseMomentum(sgd(), 0.25, sparse="taps"), keras.Sequential(layers))
    model.optimizer.build(model.trainable_variables)
    fit(
        model, ks.UpdateMasks(), data=toy_data((8, 8, 3)), epochs=2
    )  # named outright: nothing to guess
    assert len(model.optimizer.masks) == 2


# --- set_masks


@backend
def test_set_masks_masks_the_weights():
    model = built()
    new = np.zeros((16, 4), bool)
    new[3] = True
    hidden = model.optimizer.masks[HIDDEN]
    model.optimizer.set_masks({HEAD: new})
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], new)
    np.testing.assert_array_equal(model.optimizer.masks[HIDDEN], hidden)
    assert not array(model.layers[1].kernel)[~new].any()


@pytest.mark.parametrize(
    ("path", "mask", "message"),
    [
        (
            "head",
            np.ones((16, 4), bool),
            "names a weight that has no mask. Received: 'head'; masked are",
        ),
        (
            HEAD,
            np.ones((4, 16), bool),
            r"must be bool, of the weight's shape \(16, 4\).*shape \(4, 16\)",
        ),
        (HEAD, np.ones((16, 4)), "must be bool.*dtype float64"),
        (HEAD, np.zeros((16, 4), bool), "with an active weight.*0 active"),
    ],
)
def test_set_masks_changes_nothing_if_one_is_wrong(path, mask, message):
    model = built()
    before = model.optimizer.masks
    with pytest.raises(ValueError, match=message):
        model.optimizer.set_masks({HIDDEN: ~before[HIDDEN], path: mask})
    assert_same(list(model.optimizer.masks.values()), list(before.values()))


@backend
def test_masks_are_copies():
    model = built()
    model.optimizer.masks[HEAD][:] = True
    assert active(model.optimizer) == 48


def test_masks_of_other_weights_replace_those_before():
    optimizer = built().optimizer
    masks = optimizer.mask_variables
    optimizer.hold_masks_of(optimizer.masked_indices[:1])
    assert [mask.path for mask in optimizer.mask_variables] == [masks[0].path]
    listed = {id(variable) for variable in optimizer.variables}
    assert not listed & {id(mask) for mask in masks}


@backend
@pytest.mark.parametrize(
    ("settings", "shapes"), [({}, []), ({"gradient_momentum": 0.9}, [(8, 16), (16, 4)])]
)
def test_the_average_of_gradients_is_among_the_variables(settings, shapes):
    variables = built(**settings).optimizer.variables
    averages = [tuple(one.shape) for one in variables if "gradient_average" in one.path]
    assert [shape for shape in averages if shape] == shapes  # the others are counters


@pytest.mark.parametrize(
    ("settings", "kept"),
    [({}, "weight, mask, momentum"), ({"grow": "gradient"}, "weight, mask, momentum, gradient")],
)
def test_scores_see_the_gradient_where_the_optimizer_keeps_it(settings, kept):
    layer = built(**settings).optimizer.masked_weights[0].view()
    assert repr(layer).endswith(f"of {kept})")


@backend
def test_a_step_may_be_of_all_variables_or_of_some():
    model = built()
    variables = model.trainable_variables
    gradients = [keras.ops.ones(variable.shape) for variable in variables]
    model.optimizer.apply(gradients)
    model.optimizer.apply(gradients[:1], variables[:1])
    assert model.optimizer.step() == 2
    assert_masks_hold(model.optimizer)


def test_fit_alone_tells_layer_types():
    layers = [keras.Input((8,)), keras.layers.Dense(16), keras.layers.EinsumDense("ab,bc->ac", 4)]
    optimizer = ks.StaticSparsity(sgd(), 0.25, dense=keras.layers.EinsumDense)
    model = compiled(optimizer, keras.Sequential(layers))
    fit(model, epochs=1)  # without UpdateMasks, and not built before
    assert_sparse(model, count=32)


def test_a_loss_scale_optimizer_is_built_with_weights():
    inner = sparse()
    model = compiled(keras.optimizers.LossScaleOptimizer(inner))
    inner.attach(model)
    model.optimizer.build(model.trainable_variables)
    assert active(inner) == 48


def test_to_make_masks_takes_memory_that_is_given_back(monkeypatch):
    released = []
    monkeypatch.setattr(masked_optimizer, "release_memory", released.append)
    built()
    assert released == [4 * 192]  # bytes of the masked weights


@pytest.mark.parametrize("settings", [{}, {"budget": "multiply_adds"}])
def test_a_model_is_looked_for_where_it_must_be_known_and_is_not(monkeypatch, settings):
    def refuse(*arguments):
        raise AssertionError("it is looked for, or named again")

    model, optimizer = toy_model(), sparse(initial_scale=None, **settings)
    monkeypatch.setattr(masked_optimizer, "calling_model", refuse)
    optimizer.build(model if settings else model.trainable_variables)
    assert active(optimizer) == 48
    optimizer.attach = refuse
    optimizer._check_ready()
