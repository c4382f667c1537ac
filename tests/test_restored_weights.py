"""Weights that were put back bring their masks; weights of no epoch are an error, or a warning."""

import numpy as np
import pytest
from helpers import array, arrays, assert_same, built

import keras_sparse as ks
from keras_sparse.training.restored_weights import follow_last_weights, follow_restored_weights


def put(optimizer, active):
    """Gives the hidden layer `active` ones and zeros elsewhere; other layers stay."""
    hidden = optimizer.masked_variables[0]
    hidden.assign((np.arange(128) < active).reshape(8, 16))
    return array(hidden) != 0


def test_weights_of_an_earlier_epoch_bring_their_mask():
    optimizer = built().optimizer
    counts = [int(mask.sum()) for mask in optimizer.masks.values()]
    expected = put(optimizer, counts[0])
    follow_restored_weights(optimizer)
    assert_same(list(optimizer.masks.values())[:1], [expected])


def test_denser_weights_of_an_earlier_epoch_need_a_density_that_moves():
    optimizer = built().optimizer
    before = arrays(optimizer.mask_variables)
    put(optimizer, 128)
    with pytest.raises(ValueError, match="toy/hidden/kernel"):
        follow_restored_weights(optimizer)
    with pytest.warns(UserWarning, match="toy/hidden/kernel"):
        follow_last_weights(optimizer)
    assert_same(arrays(optimizer.mask_variables), before)

    optimizer = built(density=ks.CubicOverTraining(0.25)).optimizer
    optimizer.prune_to_density(0.25)
    _, head = optimizer.masks.values()
    earlier = put(optimizer, 100)
    follow_restored_weights(optimizer)
    assert_same(optimizer.masks.values(), [earlier, head])


@pytest.mark.parametrize(("active", "expected"), [(32, [32, 16]), (128, [128, 64])])
def test_a_dense_phase_that_is_stopped_may_end_with_weights_of_a_sparse_one(active, expected):
    density = ks.AlternatingOverTraining(0.25, borders=(0.25, 0.5, 0.75))
    optimizer = built(density=density).optimizer
    optimizer.set_masks({path: np.ones_like(mask) for path, mask in optimizer.masks.items()})
    put(optimizer, active)
    if active == 32:
        head = optimizer.masked_variables[1]
        head.assign((np.arange(64) < 16).reshape(16, 4))
    follow_last_weights(optimizer)
    assert [int(mask.sum()) for mask in optimizer.masks.values()] == expected
