"""Masks of whole channels: trained at the exact density, kept in files, removed by ``compact``."""

import keras
import numpy as np
import pytest
from helpers import array, assert_same, assert_sparse, compiled, fit, sgd, toy_data
from steps_by_hand import go_on, training_by_hand

import keras_sparse as ks
from keras_sparse.rules.structure_arguments import as_structure

OUT, IN = ks.Channels("out"), ks.Channels("in")


def network():
    """Filters of 36 and 72 weights; the head stays dense."""
    layers = [
        keras.layers.Conv2D(8, 3, name="first"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Conv2D(8, 3, activation="relu", name="second"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4, name="head"),
    ]
    return keras.Sequential([keras.Input((6, 6, 4)), *layers])


def made(structure, method=ks.SparseMomentum, model=None, **arguments):
    optimizer = method(sgd(), 0.5, structure=structure, dense="head", seed=0, **arguments)
    return compiled(optimizer, model or network())


def trained(structure, *others, **arguments):
    """By a fit, so that batch normalization has seen data."""
    model = made(structure, *others, **arguments)
    fit(model, ks.UpdateMasks(every=2), data=toy_data((6, 6, 4)))
    return model


def assert_whole_filters(model):
    for mask in model.optimizer.masks.values():
        by_filter = mask.reshape(-1, mask.shape[-1])
        np.testing.assert_array_equal(by_filter.any(axis=0), by_filter.all(axis=0))


def test_units_and_rows_by_hand():
    kernel = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
    assert OUT.to_groups(kernel).tolist() == [[5, 3, -3]]
    assert IN.to_groups(kernel).tolist() == [[2], [3]]
    assert OUT.group_size((3, 3, 4, 2)) == 36 == 4 * IN.group_size((3, 3, 1, 1))
    mask = OUT.from_groups(np.array([[True, False, True]]), kernel.shape)
    assert mask.tolist() == [[True, False, True]] * 2


@pytest.mark.parametrize("method", [ks.SparseMomentum, ks.RigL, ks.GraNet])
def test_methods_train_whole_filters_at_the_exact_density(method):
    model = made(OUT, method)
    for _ in training_by_hand(model.optimizer, model, steps=12, every=3):
        assert_whole_filters(model)
    assert_sparse(model, 4 * 36 + 4 * 72)


def test_fit_prunes_whole_filters_to_the_exact_density():
    model = trained(OUT, ks.GradualPruning)
    assert_whole_filters(model)
    assert_sparse(model, 4 * 36 + 4 * 72)


def test_compact_removes_the_missing_filters_and_computes_the_same():
    model = trained(OUT, redistribute=None)
    small = ks.compact(model)
    assert [small.get_layer(name).filters for name in ("first", "second")] == [4, 4]
    x, _ = toy_data((6, 6, 4))
    found, expected = (array(one(x)) for one in (small, model))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_compact_removes_the_channels_that_nobody_reads():
    model = trained(IN, redistribute=None)
    small = ks.compact(model)
    assert small.get_layer("first").filters == 4  # of 8, that `second` does not read
    x, _ = toy_data((6, 6, 4))
    found, expected = (array(one(x)) for one in (small, model))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_sparse_layers_and_files_keep_the_structure(tmp_path):
    model = made(OUT, model=ks.sparsify(network(), structure=OUT))
    model.optimizer.build(model)
    go_on(model)
    assert model.get_layer("first").structure == OUT
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.structure == OUT == loaded.get_layer("second").structure
    assert_same(list(loaded.optimizer.masks.values()), list(model.optimizer.masks.values()))


def test_pruning_in_one_call():
    model = network()
    norms = np.abs(array(model.get_layer("second").kernel)).reshape(-1, 8).sum(axis=0)
    masks = ks.prune(model, 0.25, structure=OUT, dense="head")
    kept = next(mask for path, mask in masks.items() if "second" in path)[0, 0, 0]
    assert set(np.flatnonzero(kept)) == set(np.argsort(norms)[-2:])


def test_arguments():
    assert as_structure(structure=IN.get_config()) == IN != OUT
    assert str(OUT) == 'structure=Channels("out")'
    with pytest.raises(ValueError, match=r'`side` must be "in" or "out". Received: side=1'):
        ks.Channels(1)
