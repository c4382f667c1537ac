"""A Ctrl-C while masks change, or within an eager step, leaves masks and weights that fit."""

import keras
import numpy as np
import pytest
from helpers import array, assert_same, built, compiled, fit, sparse, toy_model

import keras_sparse as ks
from keras_sparse.training.masked_weight import MaskedWeight
from keras_sparse.training.uninterrupted import finish

pytestmark = pytest.mark.backend


def press_ctrl_c(monkeypatch, calls):
    """The first ``calls`` masks are assigned; then, once, somebody presses Ctrl-C."""
    assign, left = MaskedWeight.assign, [calls]

    def assign_or_stop(self, mask, keep_explored):
        left[0] -= 1
        if left[0] == -1:
            raise KeyboardInterrupt
        assign(self, mask, keep_explored)

    monkeypatch.setattr(MaskedWeight, "assign", assign_or_stop)


def assert_masked(optimizer, expected):
    assert_same(optimizer.masks.values(), expected)
    for variable, mask in zip(optimizer.masked_variables, expected, strict=True):
        assert not array(variable)[~mask].any()


@pytest.mark.parametrize("calls", [0, 1])
def test_an_update_is_done_to_its_end(monkeypatch, calls):
    stopped, whole = (compiled(sparse(grow="random", redistribute=None)) for _ in range(2))
    whole.set_weights(stopped.get_weights())
    for model in (stopped, whole):
        fit(model, ks.UpdateMasks(), epochs=2)
    whole.optimizer.update_masks()
    press_ctrl_c(monkeypatch, calls)
    before = list(stopped.optimizer.masks.values())
    with pytest.raises(KeyboardInterrupt):
        stopped.optimizer.update_masks()
    expected = list(whole.optimizer.masks.values())
    assert any((one != other).any() for one, other in zip(expected, before, strict=True))
    assert_masked(stopped.optimizer, expected)


@pytest.mark.parametrize("calls", [0, 1])
def test_masks_that_are_set_are_all_set(monkeypatch, calls):
    optimizer = built().optimizer
    new = {name: mask[::-1].copy() for name, mask in optimizer.masks.items()}
    press_ctrl_c(monkeypatch, calls)
    with pytest.raises(KeyboardInterrupt):
        optimizer.set_masks(new)
    assert_masked(optimizer, list(new.values()))


def test_a_model_is_pruned_to_the_end(monkeypatch):
    model, calls = toy_model(), []
    assign = keras.Variable.assign

    def assign_or_stop(self, value):
        calls.append(self.path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return assign(self, value)

    monkeypatch.setattr(keras.Variable, "assign", assign_or_stop)
    with pytest.raises(KeyboardInterrupt):
        ks.prune(model, 0.25)
    assert [np.count_nonzero(array(layer.kernel)) for layer in model.layers] == [32, 16]


class StoppedSGD(keras.optimizers.SGD):
    """Its second step is made, and then somebody presses Ctrl-C."""

    steps = 0

    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)
        self.steps += 1
        if self.steps == 2:
            raise KeyboardInterrupt


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="steps there have no state")
def test_an_eager_step_that_is_stopped_masks_the_weights():
    model = compiled(sparse(inner=StoppedSGD(0.05, momentum=0.9)), run_eagerly=True)
    with pytest.raises(KeyboardInterrupt):
        fit(model, ks.UpdateMasks())
    assert model.optimizer.step() == 2
    assert_masked(model.optimizer, list(model.optimizer.masks.values()))
    fit(model, ks.UpdateMasks(), epochs=2)  # it refuses weights that do not fit the masks


def test_an_action_that_is_not_stopped_is_done_once():
    calls = []
    finish(lambda: calls.append(1))
    assert calls == [1]
