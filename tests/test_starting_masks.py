"""First masks that wait: for a batch, for weights, for a file or a checkpoint."""

import numpy as np
import pytest
from helpers import active, arrays, assert_same, built, compiled, sparse, toy_model

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.training import first_masks


def test_a_checkpoint_without_the_masks_of_these_weights_is_refused(monkeypatch):
    monkeypatch.setattr(ks.SparseMomentum, "_was_restored", lambda self: True)
    with pytest.raises(ValueError, match="with an active weight.*'toy/hidden/kernel'.*0 active"):
        built()


def test_snip_needs_weights_that_have_values(monkeypatch):
    optimizer = built(initial_masks="snip").optimizer
    monkeypatch.setattr(first_masks, "has_value", lambda variable: False)
    with pytest.raises(ValueError, match="only made in the first step.*initial_masks='snip'"):
        optimizer.begin_with_batch(lambda weights: [np.ones(one.shape) for one in weights])


def test_snip_makes_layers_dense_that_it_does_not_mask():
    model = compiled(
        sparse(dense="head", initial_masks="snip"), ks.sparsify(toy_model(), verbose=False)
    )
    model.optimizer.build(model)
    mask = kernel_mask_of(model.layers[1].kernel)
    mask.assign(np.eye(16, 4, dtype=bool))
    model.optimizer.begin_with_batch(lambda weights: [np.ones(one.shape) for one in weights])
    assert mask.density() == 1.0
    assert (active(model.optimizer), model.optimizer.awaiting) == (32, [])


def test_a_list_of_values_that_waited_is_that_of_a_run():
    trained = built(seed=1).optimizer
    waiting = sparse(seed=2)
    waiting.set_weights(arrays(trained.variables))
    waiting.build(toy_model())
    assert_same(list(waiting.masks.values()), list(trained.masks.values()))
    assert waiting.has_trained()


def test_a_list_of_values_from_before_there_were_masks_has_none():
    waiting, model = sparse(initial_masks="magnitude"), toy_model()
    waiting.inner_optimizer.iterations.assign(3)
    waiting.set_weights(arrays(waiting.variables))
    waiting.inner_optimizer.iterations.assign(0)
    waiting.build(model)
    assert waiting.step() == 3
    assert active(waiting) == 48
    assert not waiting.masks_were_loaded


def test_a_file_read_before_the_optimizer_is_built_begins_a_run_with_its_masks():
    store, trained, waiting = {}, built(seed=1).optimizer, sparse(seed=2)
    for name in ("epoch", "training_start", "training_stop", "last_update"):
        trained.set_counter(name, 7)
    trained.save_own_variables(store)
    waiting.load_own_variables(store)
    waiting.build(toy_model())
    names = ("epoch", "training_start", "training_stop", "last_update")
    assert [waiting.counter(name) for name in names] == [0, 0, -1, 0]
    assert_same(list(waiting.masks.values()), list(trained.masks.values()))


def test_random_masks_of_weights_that_have_made_steps_are_told():
    late = sparse()
    late.inner_optimizer.iterations.assign(3)
    with pytest.warns(UserWarning, match="random mask over trained weights"):
        late.build(toy_model())
