"""Masked weights are replaced, and what belongs to them is kept where they stay."""

import pytest
from helpers import array, built, compiled, sparse, toy_model

import keras_sparse as ks
from keras_sparse.compute.mask_state import KernelMask, kernel_mask_of


def test_an_average_of_gradients_stays_with_its_weights():
    optimizer = built(gradient_momentum=0.75).optimizer
    average, indices = optimizer._gradient_average, optimizer.masked_indices
    optimizer.hold_masks_of(indices)
    assert optimizer._gradient_average is average
    optimizer.hold_masks_of(indices[:1])
    assert optimizer._gradient_average is not average
    assert optimizer._gradient_average.decay == 0.75
    assert len(optimizer.masks) == 1


def test_a_layer_that_is_dense_already_gets_no_new_mask(monkeypatch):
    model, assigned = compiled(sparse(dense="head"), ks.sparsify(toy_model(), verbose=False)), []
    model.optimizer.build(model)
    monkeypatch.setattr(KernelMask, "assign", lambda self, mask: assigned.append(mask))
    model.optimizer.attach(model)
    assert assigned == []


@pytest.mark.parametrize("dense", [None, "head"])
def test_the_masks_of_all_sparse_layers_belong_to_the_optimizer_that_trains_them(dense):
    model = compiled(sparse(dense=dense), ks.sparsify(toy_model(), verbose=False))
    masks = [kernel_mask_of(layer.kernel) for layer in model.layers]
    head = 0.25 if dense is None else 1.0
    assert [mask.is_managed() for mask in masks] == [False, False]
    model.optimizer.build(model)
    assert [mask.is_managed() for mask in masks] == [True, True]
    assert [float(array(mask.mask_density)) for mask in masks] == [0.25, head]
