"""What an update may spend: what is active now, and what an earlier update left of the budget."""

import numpy as np
import pytest
from helpers import built

from keras_sparse.training import mask_updates

HIDDEN = "toy/hidden/kernel"


@pytest.mark.parametrize(
    ("active", "budget"),
    [
        (32, None),  # the number before stays: a budget in weights needs no other
        (32, 48),  # hidden 32 and head 16 of a quarter of 192
        (31, 47),  # a whole weight is left: another density, which the user has set
        (20, 36),
        (40, 56),
    ],
)
def test_masks_of_another_density_keep_theirs(active, budget):
    optimizer = built(budget="weights" if budget is None else "multiply_adds").optimizer
    for one in optimizer.masked_weights:
        assert one.cost == 1
    optimizer.set_masks({HIDDEN: np.arange(128).reshape(8, 16) < active})
    found = optimizer._budget_of_update(optimizer.trained_weights(), None, 0)
    assert found == budget


def test_an_update_gives_memory_back(monkeypatch):
    released, optimizer = [], built(prune_rate=0.5).optimizer
    monkeypatch.setattr(mask_updates, "release_memory", released.append)
    optimizer.update_masks()
    assert released == [4 * 192]  # bytes of the masked weights
