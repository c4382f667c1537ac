"""Layers are ranked at once only by rules whose order does not matter; results keep their order."""

import threading

import numpy as np
import pytest

from keras_sparse.rules import at_once, scores
from keras_sparse.rules.at_once import for_each_layer
from keras_sparse.rules.mask_update import update_masks
from keras_sparse.rules.masked_layer import MaskedLayer


def threads_of(monkeypatch, cores, *rules):
    monkeypatch.setattr(at_once.os, "cpu_count", lambda: cores)
    both = threading.Barrier(2, timeout=5)

    def wait_for_another(i):
        if i < 2:
            both.wait()
        return i, threading.get_ident()

    def alone(i):
        return i, threading.get_ident()

    is_several = cores > 3 and all(rule in at_once.SAFE_RULES for rule in rules)
    found = for_each_layer(wait_for_another if is_several else alone, 6, *rules)
    assert [i for i, _ in found] == list(range(6))
    return len({ident for _, ident in found})


def test_two_cores_hold_the_arrays_of_one_layer(monkeypatch):
    assert threads_of(monkeypatch, 2, scores.magnitude) == 1
    assert threads_of(monkeypatch, 4, scores.magnitude) > 1


@pytest.mark.parametrize("rule", [scores.random, lambda layer, rng: layer.weight])
def test_rules_that_draw_numbers_or_are_not_ours_go_layer_by_layer(monkeypatch, rule):
    assert threads_of(monkeypatch, 16, scores.magnitude, rule) == 1


@pytest.mark.parametrize("grow", [scores.momentum, scores.random])
def test_masks_are_the_same_on_any_number_of_cores(monkeypatch, grow):
    rng = np.random.default_rng(0)
    layers = [
        MaskedLayer(
            str(i),
            weight=rng.normal(size=(8, 16)),
            mask=rng.random((8, 16)) < 0.3,
            momentum=rng.normal(size=(8, 16)),
        )
        for i in range(5)
    ]

    def updated(cores):
        monkeypatch.setattr(at_once.os, "cpu_count", lambda: cores)
        rules = (scores.magnitude, scores.mean_momentum, grow)
        return update_masks(layers, 0.5, *rules, np.random.default_rng(1))

    np.testing.assert_array_equal(updated(2), updated(16))


def test_the_first_layer_with_nan_is_named(monkeypatch):
    monkeypatch.setattr(at_once.os, "cpu_count", lambda: 16)
    bad = np.full((4, 4), np.nan)
    mask = np.eye(4, dtype=bool)
    layers = [MaskedLayer(name, bad, mask, momentum=np.ones((4, 4))) for name in ("one", "two")]
    with pytest.raises(ValueError, match="NaN in the scores of layer 'one'"):
        update_masks(layers, 0.5, scores.magnitude, None, scores.momentum, np.random.default_rng(0))
