"""What the files of a sparse run hold, by hand, and what first masks of a file's weights say."""

import json

import numpy as np
import pytest
from helpers import assert_same, assert_sparse, built, compiled, fit, sgd, sparse

import keras_sparse as ks

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
    other.load_own_variables(store)
    assert [other.counter(name) for name in ("epoch", "training_start", "training_stop")] == [
        0,
        0,
        -1,
    ]
    assert_same(list(other.masks.values()), list(same.masks.values()))
