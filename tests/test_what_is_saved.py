"""What the files of a sparse run hold, by hand, and what first masks of a file's weights say."""

import json

import numpy as np
import pytest
from helpers import (
    array,
    arrays,
    assert_same,
    assert_sparse,
    built,
    compiled,
    fit,
    sgd,
    sparse,
    toy_model,
)

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of

backend = pytest.mark.backend


# --- the density that is asked for


@pytest.mark.parametrize("method", [ks.SparseMomentum, ks.StaticSparsity])
def test_nonzero_of_dense_weights_says_that_the_density_is_another(method):
    model = compiled(method(sgd(), density=0.1, initial_masks="nonzero"))
    with pytest.warns(
        UserWarning,
        match='keeps all weights that are not 0, 1.000 of them. Pass initial_masks="magnitude".*'
        "a density of 0.099",
    ):
        fit(model, ks.UpdateMasks())


def test_nonzero_of_sparse_weights_says_nothing():
    model = built()
    compiled(sparse(initial_masks="nonzero"), model)
    fit(model, ks.UpdateMasks())
    assert_sparse(model, count=48)


# --- what is written, by hand


def names_saved(optimizer):
    store = {}
    optimizer.save_own_variables(store)
    return set(store)


def test_before_a_run_begins_it_is_written_that_it_has_not():
    not_begun = {"not_begun"}
    assert names_saved(sparse()) == not_begun
    optimizer = built().optimizer
    assert {"record", "mask_0", "mask_2", "seed", "epoch"} <= names_saved(optimizer)
    assert "not_begun" not in names_saved(optimizer)
    optimizer.begins_anew = True
    assert names_saved(optimizer) == not_begun
    optimizer.begins_anew, optimizer.awaiting = False, [0]
    assert names_saved(optimizer) == not_begun


def test_what_was_read_and_not_used_is_written_again():
    waiting, store = sparse(), {}
    built().optimizer.save_own_variables(store)
    waiting.load_own_variables(store)
    assert names_saved(waiting) == set(store)
    waiting.begins_anew = True
    assert names_saved(waiting) == {"not_begun"}
    listed = sparse()
    listed.set_weights([np.ones(2), np.zeros(3)])
    store = {}
    listed.save_own_variables(store)
    assert {name: value.tolist() for name, value in store.items()} == {
        "value_0": [1, 1],
        "value_1": [0, 0, 0],
    }
    again = sparse()
    again.load_own_variables(store)
    assert [value.tolist() for value in again._loaded] == [[1, 1], [0, 0, 0]]
    again.load_own_variables({"not_begun": True})
    assert again._loaded is None


def test_a_run_counts_as_trained_once_it_has_masks_of_a_file():
    store, optimizer = {}, built(seed=1).optimizer
    built(seed=2).optimizer.save_own_variables(store)
    assert not optimizer.has_trained()
    optimizer.load_own_variables(store)
    assert optimizer.has_trained()


def test_a_file_goes_on_where_its_weights_are_those_of_now():
    store, optimizer = {}, built().optimizer
    for name, value in (("epoch", 3), ("training_start", 2), ("training_stop", 40)):
        optimizer.set_counter(name, value)
    optimizer.save_own_variables(store)
    same, other = (built(seed=seed).optimizer for seed in (1, 2))
    same.load_own_variables(store)
    assert [same.counter(name) for name in ("epoch", "training_start", "training_stop")] == [
        3,
        2,
        40,
    ]
    record = json.loads(bytes(store["record"]))
    record["trainable"] = record["trainable"][::-1]  # of a model whose layers were in other order
    store["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    names = ("last_update", "training_start", "training_stop", "epoch")
    for name in names:
        other.set_counter(name, 9)
    other.load_own_variables(store)
    assert [other.counter(name) for name in names] == [0, 0, -1, 0]
    assert_same(list(other.masks.values()), list(same.masks.values()))


def saved(optimizer, without=()):
    store = {}
    optimizer.save_own_variables(store)
    return {name: value for name, value in store.items() if name not in without}


def test_the_epoch_of_a_run_that_has_not_begun_is_minus_2_in_tensorflows_checkpoints():
    optimizer = built().optimizer
    optimizer.begin_later()
    assert optimizer.counter("epoch") == -2


@pytest.mark.parametrize(("given", "seed"), [(None, 5), (3, 3)])
def test_a_run_goes_on_with_the_seed_of_the_file_unless_one_is_given(given, seed):
    optimizer = built(seed=given).optimizer
    optimizer.load_own_variables(saved(built(seed=5).optimizer))
    assert optimizer.seed == seed


def test_masks_of_a_file_end_the_waiting_and_a_file_without_masks_begins_it():
    optimizer = built(seed=1).optimizer
    optimizer.begin_later()
    optimizer.load_own_variables(saved(built(seed=2).optimizer))
    assert (optimizer.begins_anew, optimizer.has_trained()) == (False, True)
    optimizer.load_own_variables({"not_begun": True})
    assert (optimizer.begins_anew, optimizer.has_trained()) == (True, False)


@pytest.mark.parametrize(("opened", "is_open"), [(-1, False), (0, True), (None, True)])
def test_the_window_is_as_in_the_file_and_open_where_it_does_not_say(opened, is_open):
    one, other = built(seed=1).optimizer, built(seed=2).optimizer
    one.set_counter("window_opened", 0 if opened is None else opened)
    other.load_own_variables(saved(one, without=["window_opened"] if opened is None else []))
    assert bool(array(other.growth_window_open)) is is_open


def test_masks_of_a_file_that_are_not_whole_blocks_are_refused():
    with pytest.raises(ValueError, match="toy/hidden/kernel"):
        built(block_shape=(4, 4)).optimizer.load_own_variables(saved(built().optimizer))


def test_a_layer_without_a_mask_in_the_file_is_dense():
    model = compiled(sparse(), ks.sparsify(toy_model(), verbose=False))
    model.optimizer.build(model)
    mask = kernel_mask_of(model.layers[1].kernel)
    assert mask.density() == 0.25
    model.optimizer.load_own_variables(saved(built(dense="head").optimizer))
    assert list(model.optimizer.masks) == ["toy/hidden/kernel"]
    assert mask.density() == 1.0


def test_all_values_of_a_run_bring_its_masks_also_where_they_await_a_batch():
    run, awaiting = built(seed=1).optimizer, built(initial_masks="snip").optimizer
    for optimizer in (built(seed=2).optimizer, awaiting):
        optimizer._take_values(arrays(run.variables))
        assert_same(list(optimizer.masks.values()), list(run.masks.values()))
        assert optimizer.has_trained()
    other = built(initial_masks="snip").optimizer
    other._take_values(arrays(built(initial_masks="snip").optimizer.variables))
    assert (other.awaiting, other.masks) == ([0, 2], {})


def test_a_run_that_has_made_a_step_begins_anew_at_once_and_again_with_later_weights():
    optimizer = built(initial_masks="magnitude").optimizer
    optimizer.iterations.assign(1)
    optimizer.load_own_variables({"not_begun": True})
    assert optimizer.begins_anew
