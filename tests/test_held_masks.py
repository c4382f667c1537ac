"""Masks follow weights that were put back, layer by layer; frozen weights keep theirs."""

import numpy as np
import pytest
from helpers import array, assert_same, built, sparse, toy_model

from keras_sparse.training import held_masks

HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def put_back(optimizer, kernel):
    """Gives a kernel weights at the opposite end of its inputs, the same number as before."""
    variable = next(one for one in optimizer.masked_variables if one.path == kernel)
    moved = np.ascontiguousarray(array(variable)[::-1])
    variable.assign(moved)
    return moved != 0


def test_the_mask_of_the_weights_that_came_back_follows_them_and_no_other():
    optimizer = built().optimizer
    before = dict(optimizer.masks)
    moved = put_back(optimizer, HEAD)
    assert (moved != before[HEAD]).any()
    fitting = optimizer.fitting_masks()
    assert_same(fitting, [before[HIDDEN], moved])
    assert_same(optimizer.masks.values(), before.values())  # so far
    optimizer.follow_weights()
    assert_same(optimizer.masks.values(), [before[HIDDEN], moved])


def test_masks_that_fit_are_not_assigned(monkeypatch):
    optimizer = built().optimizer
    monkeypatch.setattr(optimizer, "assign_masks", None)
    optimizer.follow_weights()


def test_the_mask_of_a_frozen_weight_stays():
    model = built()
    model.get_layer("head").trainable = False
    before = dict(model.optimizer.masks)
    put_back(model.optimizer, HEAD)
    moved = put_back(model.optimizer, HIDDEN)
    model.optimizer.follow_weights()
    assert_same(model.optimizer.masks.values(), [moved, before[HEAD]])


def test_given_masks_are_fitted_in_their_place():
    optimizer = built().optimizer
    masks = list(optimizer.masks.values())
    given = [mask[::-1] for mask in masks]  # of an epoch whose weights are not these
    assert_same(optimizer.fitting_masks(given), masks)


def test_missing_weights_become_zero_in_trained_weights_alone():
    model = built()
    model.get_layer("hidden").trainable = False
    for variable in model.optimizer.masked_variables:
        variable.assign(np.ones(variable.shape))
    model.optimizer.apply_masks()
    hidden, head = map(array, model.optimizer.masked_variables)
    assert hidden.all()
    assert_same([head], [model.optimizer.masks[HEAD].astype("float32")])


@pytest.mark.parametrize(("budget", "expected"), [("weights", 40 / 192), ("multiply_adds", 0.175)])
def test_the_density_of_the_budget(budget, expected, monkeypatch):
    optimizer = built(budget=budget).optimizer
    optimizer.set_masks({HIDDEN: np.arange(128).reshape(8, 16) < 32})
    optimizer.set_masks({HEAD: np.arange(64).reshape(16, 4) < 8})
    _, head = optimizer.masked_weights
    monkeypatch.setattr(type(head), "cost", property(lambda one: 3 if one.name == HEAD else 1))
    assert optimizer.budget_density() == expected  # (32 + 3 * 8) / (128 + 3 * 64) = 0.175
    assert optimizer.total_density() == 40 / 192


@pytest.mark.parametrize(
    "change",
    [
        lambda optimizer, new: optimizer.set_masks({HEAD: new}),
        lambda optimizer, new: optimizer.change_masks([new], optimizer.masked_weights[1:]),
    ],
    ids=["set", "change"],
)
def test_watchers_see_new_masks_while_the_old_ones_are_there(change):
    optimizer = built().optimizer
    before, new = optimizer.masks[HEAD], np.arange(64).reshape(16, 4) < 8
    seen = []

    class Watcher:
        def see_masks(self, of, weights, masks):
            seen.append((of, [one.name for one in weights], weights[0].mask, masks))

    optimizer.watchers.add(watcher := Watcher())
    change(optimizer, new)
    optimizer.watchers.discard(watcher)
    ((of, names, old, masks),) = seen
    assert of is optimizer
    assert names == [HEAD]
    assert_same([old, *masks, optimizer.masks[HEAD]], [before, new, new])


def test_masks_wait_for_weights_that_a_step_still_has_to_make(monkeypatch):
    optimizer = built().optimizer
    hidden, head = optimizer.masked_variables
    head.assign(np.ones((16, 4)))
    masks = list(optimizer.masks.values())
    monkeypatch.setattr(held_masks, "has_value", lambda variable: variable is not hidden)
    optimizer.assign_masks(masks)
    assert array(head).all()
    monkeypatch.undo()
    optimizer.assign_masks(masks)
    assert_same([array(head)], [masks[1].astype("float32")])


def test_masks_are_there_once_the_optimizer_is_built_unless_they_await_a_batch():
    for optimizer in (sparse(), sparse(initial_masks="snip")):
        with pytest.raises(ValueError, match="The optimizer has no masks yet"):
            optimizer.check_built()
        optimizer.build(toy_model())
        optimizer.check_built(awaits_batch=True)
    with pytest.raises(ValueError, match="The optimizer has no masks yet"):
        optimizer.check_built()
    built().optimizer.check_built()


def test_masked_weights_take_four_bytes_each():
    assert built().optimizer.masked_bytes() == 4 * (128 + 64)
