"""A file of a run that had not begun brings weights: the first masks are made again, of these."""

import keras
import numpy as np
import pytest
from helpers import array, arrays, assert_same, built, compiled, sparse, toy_model

import keras_sparse as ks
from keras_sparse.compute.mask_state import kernel_mask_of

HIDDEN, HEAD = "toy/hidden/kernel", "toy/head/kernel"


def with_weights_of_a_run_that_had_not_begun(**settings):
    """Its masks are of other weights: the largest of the head's weights are now the last rows."""
    model = built(initial_masks="magnitude", **settings)
    model.layers[1].kernel.assign(np.arange(64, dtype="float32").reshape(16, 4))
    model.optimizer.load_own_variables({"not_begun": True})
    return model


LAST_ROWS = np.arange(16)[:, None].repeat(4, axis=1) >= 12
ONE_ROW = np.arange(8)[:, None].repeat(16, axis=1) == 5
CALLS = {
    "attach": lambda model: model.optimizer.attach(model),
    "build": lambda model: model.optimizer.build(model),
    "set_masks": lambda model: model.optimizer.set_masks({HIDDEN: ONE_ROW}),
    "prune_to_density": lambda model: model.optimizer.prune_to_density(0.25),
    "apply": lambda model: model.optimizer.apply(
        [keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_first_call_that_needs_masks_makes_those_of_the_new_weights(call):
    model = with_weights_of_a_run_that_had_not_begun()
    optimizer = model.optimizer
    assert optimizer.begins_anew
    assert not (optimizer.masks[HEAD] == LAST_ROWS).all()
    CALLS[call](model)
    assert not optimizer.begins_anew
    np.testing.assert_array_equal(optimizer.masks[HEAD], LAST_ROWS)
    model.layers[1].kernel.assign(np.zeros((16, 4)))
    CALLS[call](model)  # and only the first one
    np.testing.assert_array_equal(optimizer.masks[HEAD], LAST_ROWS)


def test_an_update_begins_with_masks_of_the_new_weights():
    model = with_weights_of_a_run_that_had_not_begun(prune_rate=0.0)
    model.optimizer.update_masks()
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], LAST_ROWS)


def test_after_a_step_they_are_made_at_once_since_the_next_one_may_be_traced():
    model = built(initial_masks="magnitude")
    CALLS["apply"](model)
    model.layers[1].kernel.assign(np.arange(64, dtype="float32").reshape(16, 4))
    model.optimizer.load_own_variables({"not_begun": True})
    np.testing.assert_array_equal(model.optimizer.masks[HEAD], LAST_ROWS)


def test_a_list_of_variables_ends_the_waiting_and_tells_sparse_layers_their_density():
    one, other = (
        compiled(sparse(density=density), ks.sparsify(toy_model())) for density in (0.25, 0.5)
    )
    for model in (one, other):
        model.optimizer.build(model)
    one.optimizer.begins_anew = True
    one.optimizer.set_weights(arrays(other.optimizer.variables))
    assert not one.optimizer.begins_anew
    assert_same(list(one.optimizer.masks.values()), list(other.optimizer.masks.values()))
    assert array(kernel_mask_of(one.layers[0].kernel).mask_density) == 0.5
