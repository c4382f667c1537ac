"""First masks by hand: blocks, nonzero weights, models that are named later."""

import keras
import numpy as np
import pytest
from helpers import active, assert_same, assert_sparse, built, compiled, fit, sgd, sparse, toy_model

import keras_sparse as ks
from keras_sparse.rules.single_weights import Weights
from keras_sparse.training import first_masks
from keras_sparse.training.selection import Selection

backend = pytest.mark.backend
HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


BLOCKS = ks.Blocks(4, 4)


@pytest.mark.parametrize(
    ("counts", "costs", "active"),
    [
        ([15, 15], None, [8, 16]),  # of blocks of 16, 16 and 8: 7 are left for the second
        ([16, 17], None, [16, 16]),
        ([4, 15], None, [16, 8]),  # one block at least, and nothing is left
        ([4, 16], None, [16, 16]),  # nor is anything owed
        ([15, 15, 15], None, [8, 16, 16]),  # 7 and 6 are left
        ([15, 15], [2, 1], [8, 24]),  # what is left is worth 14
        ([15, 15], [1, 3], [8, 16]),  # 7 of 3: two weights more
    ],
)
def test_a_kernel_of_unequal_blocks_gets_what_those_before_could_not_use(counts, costs, active):
    weight = np.repeat([[1.0, 3.0, 2.0]], 4, axis=1)[:, :10].repeat(4, axis=0)
    variables = [keras.Variable(weight, name="kernel") for _ in counts]
    masks = first_masks.first_masks("magnitude", variables, counts, BLOCKS, None, costs)
    assert [int(mask.sum()) for mask in masks] == active


def test_a_block_in_each_layer_may_exceed_the_density_by_less_than_a_block():
    variables = [keras.Variable(np.ones((4, 4))) for _ in range(2)]
    assert first_masks.counts_in_groups([12, 12], variables, BLOCKS) == [16, 16]
    with pytest.warns(UserWarning, match=r"density will be 1 where 0\.5312 was asked for: each"):
        assert first_masks.counts_in_groups([8, 9], variables, BLOCKS) == [16, 16]
    with pytest.raises(ValueError, match=r"fewer active weights \(16\) than one block.*\(32\)"):
        first_masks.counts_in_groups([8, 8], variables, BLOCKS)


@pytest.mark.parametrize(("found", "is_told"), [(49, False), (51, False), (52, True)])
def test_one_percent_more_nonzeros_than_asked_for_are_told(found, is_told):
    masks = [np.arange(100) < found]
    notice = first_masks.notice_of_density("nonzero", masks, 50, Weights())
    assert (notice is not None) == is_told
    assert notice is None or "0.520 of them. Pass" in notice
    assert first_masks.notice_of_density("magnitude", masks, 50, Weights()) is None


def test_more_nonzeros_than_a_budget_are_told_in_its_terms():
    masks = [np.arange(10) < 6, np.arange(10) < 2]
    notice = first_masks.notice_of_density("nonzero", masks, 10, ks.Blocks(2, 2), [4, 1])
    assert "0.520 of the multiply-adds in whole blocks (block_shape=(2, 2))" in notice
    assert "Received: a density of 0.200" in notice


def test_another_choice_of_weights_is_an_error_before_the_first_step():
    model = built()
    optimizer = model.optimizer
    optimizer.selection = Selection(dense="head")
    with pytest.raises(ValueError, match=r"took some weights for others.*Received: .'toy/head/k"):
        optimizer.attach(model)
    optimizer.masks_were_loaded = True
    optimizer.attach(model)  # the file says which weights are masked
    optimizer.masks_were_loaded = False
    optimizer.iterations.assign(1)
    optimizer.attach(model)
    assert list(optimizer.masks) == [HIDDEN, HEAD]


def test_a_model_that_is_named_later_brings_the_masks_that_waited_for_it():
    model = toy_model()
    optimizer = ks.StaticSparsity(sgd(), 0.25, dense="*", sparse=keras.layers.Dense, seed=0)
    optimizer.build(model.trainable_variables)
    assert optimizer.masks == {}
    optimizer.build(model)
    assert active(optimizer) == 48
    masks = optimizer.masks
    optimizer.build(model)  # they stay
    assert_same(list(optimizer.masks.values()), list(masks.values()))


def test_first_masks_that_wait_for_a_batch_are_not_made_anew():
    model = compiled(sparse(initial_masks="snip"))
    model.optimizer.build(model)
    model.optimizer.begins_anew = True
    model.optimizer.begin_anew()
    assert not model.optimizer.begins_anew
    assert model.optimizer.awaiting == [0, 2]


def test_a_step_of_fit_finds_the_model_that_the_masks_waited_for():
    optimizer = ks.StaticSparsity(sgd(), 0.25, dense="*", sparse=keras.layers.Dense, seed=0)
    model = compiled(optimizer)
    optimizer.build(model.trainable_variables)
    assert optimizer.masks == {}
    fit(model, epochs=1)
    assert_sparse(model, count=48)


def test_a_batch_cannot_choose_among_weights_that_are_not_made_yet(monkeypatch):
    model = compiled(sparse(initial_masks="snip"))
    model.optimizer.build(model)
    monkeypatch.setattr(first_masks, "has_value", lambda variable: False)
    with pytest.raises(ValueError, match="only made in the first step.*initial_masks='snip'"):
        model.optimizer.begin_with_batch(lambda weights: [np.ones(w.shape) for w in weights])
