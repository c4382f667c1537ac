"""What an update may spend: what is active now, and what an earlier update left of the budget."""

import numpy as np
import pytest
from helpers import built

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
