"""First masks by kind: random, the largest magnitudes, the weights that are not 0."""

import keras
import numpy as np
import pytest
from helpers import array, assert_same, assert_sparse, built, compiled, fit, sgd, toy_model

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.rules.single_weights import Weights
from keras_sparse.training import first_masks

backend = pytest.mark.backend
HIDDEN = "toy/hidden/kernel"


@backend
def test_magnitude_keeps_the_largest():
    model = toy_model()
    weight = array(model.layers[0].kernel)
    compiled(ks.SparseMomentum(sgd(), 0.25, initial_masks="magnitude"), model).optimizer.build(
        model
    )
    threshold = np.sort(np.abs(weight), axis=None)[-32]
    np.testing.assert_array_equal(
        array(model.layers[0].kernel), np.where(np.abs(weight) >= threshold, weight, 0)
    )


@backend
def test_nonzero_takes_the_masks_of_a_sparse_checkpoint():
    sparse = built(density=0.1)
    model = toy_model()
    model.set_weights(sparse.get_weights())
    optimizer = ks.SparseMomentum(sgd(), 0.9, initial_masks="nonzero")
    compiled(optimizer, model).optimizer.build(model)
    assert_same(list(optimizer.masks.values()), list(sparse.optimizer.masks.values()))


def test_nonzero_looks_at_weights_where_a_sparse_layer_has_all_and_at_its_mask_otherwise():
    model, even = ks.sparsify(toy_model(), verbose=False), np.arange(128).reshape(8, 16) % 2 == 0
    hidden, head = (layer.kernel for layer in model.layers)
    earlier = ks.SparseMomentum(sgd(), 1.0)
    earlier.build(model)  # its masks stay as they are when weights are assigned
    hidden.assign(array(hidden) * even)
    assert kernel_mask_of(hidden).density() == 1.0
    eye = np.eye(16, 4, dtype=bool)
    kernel_mask_of(head).assign(eye)
    only_one = np.zeros((16, 4))
    only_one[0, 0] = 1.0
    head.assign(only_one)  # the other active weights are 0
    optimizer = ks.SparseMomentum(sgd(), 0.5, initial_masks="nonzero")
    optimizer.build(model)
    assert_same(list(optimizer.masks.values()), [even, eye])


def test_nonzero_of_nothing_raises():
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(4, kernel_initializer="zeros", name="empty")]
    )
    with pytest.raises(
        ValueError,
        match="found no nonzero weight in 'sequential/empty/kernel'. Load the sparse weights",
    ):
        ks.SparseMomentum(sgd(), 0.5, initial_masks="nonzero").build(model)


@backend
def test_random_masks_come_from_the_seed():
    one, same, other = (built(seed=seed).optimizer.masks[HIDDEN] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@backend
@pytest.mark.parametrize("keep_optimizer", [True, False])
def test_random_masks_over_trained_weights_warn_once(keep_optimizer):
    model = compiled(sgd())
    fit(model, epochs=1)
    model.compile(ks.SparseMomentum(model.optimizer if keep_optimizer else sgd(), 0.25), "mse")
    with pytest.warns(
        UserWarning, match='throws away most of what they have learned.*`initial_masks="magnitude"`'
    ) as caught:
        fit(model, ks.UpdateMasks(), epochs=2)
    assert sum("random mask" in str(warning.message) for warning in caught) == 1
    assert_sparse(model, count=48)


def test_magnitude_masks_over_trained_weights_do_not_warn():
    model = compiled(sgd())
    fit(model, epochs=1)
    model.compile(ks.SparseMomentum(sgd(), 0.25, initial_masks="magnitude"), "mse")
    fit(model, ks.UpdateMasks(), epochs=2)
    assert_sparse(model, count=48)


@pytest.mark.parametrize("kind", ["magnitude", "nonzero"])
def test_weights_must_be_there_to_be_looked_at(kind):
    model = keras.Sequential([keras.layers.Dense(4)])
    model.compile(ks.SparseMomentum(sgd(), 0.5, initial_masks=kind), "mse")
    with pytest.raises(
        ValueError, match=f"build the model before `fit`.*Received: initial_masks='{kind}'"
    ):
        fit(model, ks.UpdateMasks())


@pytest.mark.parametrize("kind", ["all", None, True])
def test_unknown_kind_of_masks(kind):
    with pytest.raises(
        ValueError, match="`initial_masks` must be one of .*Received: initial_masks="
    ):
        ks.SparseMomentum(sgd(), 0.5, initial_masks=kind)


def test_masks_that_look_at_weights_need_all_of_them(monkeypatch):
    one, other = (keras.Variable("ones", (2, 2)) for _ in range(2))
    monkeypatch.setattr(first_masks, "has_value", lambda variable: variable is one)
    first_masks.check_readable("magnitude", [one])
    first_masks.check_readable("random", [one, other])
    with pytest.raises(ValueError, match="only made in the first step.*initial_masks='magnitude'"):
        first_masks.check_readable("magnitude", [one, other])


def test_a_structure_of_the_users_own_may_refuse_a_weight():
    class NotForDense(Weights):
        def why_not(self, shape):
            return "it has two axes" if len(shape) == 2 else None

    with pytest.raises(ValueError, match="it has two axes. Received: .*toy/hidden/kernel"):
        built(structure=NotForDense())
