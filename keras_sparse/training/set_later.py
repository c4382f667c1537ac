"""Density, prune rate and rules that are set after construction are checked as they are there."""

from typing import Any

from keras_sparse.rules import scores
from keras_sparse.training import schedules
from keras_sparse.training.mask_updates import MaskUpdates
from keras_sparse.training.rule_checks import check_rules

CHECKS = {
    "density": schedules.get,
    "prune_rate": schedules.get,
    "prune": scores.get_score,
    "redistribute": scores.get_share,
    "grow": scores.get_score,
}


class SetLater(MaskUpdates):
    """Checks what a user sets between two trainings; ``SparseMomentum`` describes the attributes.

    >>> optimizer = ks.SparseMomentum("adam", density=0.1)
    >>> optimizer.grow = "random"
    >>> optimizer.grow.__name__
    'random'
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if self._is_complete and name in CHECKS:
            if name == "density":
                self._check_density(value)
            value = CHECKS[name](value, name)
        super().__setattr__(name, value)

    def _check_density(self, density: Any) -> None:
        schedules.check_as_density(density)
        check_rules(self.prune, self.grow, density)
        if self.masked_weights and not callable(density) and density != self.density:
            raise ValueError(TOO_LATE.format(density=density, before=self.density))


TOO_LATE = (
    "`density` cannot be set to a number once there are masks, which keep their number of active "
    "weights. Prune by `optimizer.prune_to_density(density)`; set a schedule, which a later `fit` "
    "follows down; or compile with a new SparseMomentum, with "
    '`initial_masks="magnitude"`. Received: density={density}, and it is {before}'
)
