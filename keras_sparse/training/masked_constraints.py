"""A constraint sees the active weights alone, not what a step has made of missing ones."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_sparse.training.masked_weight import MaskedWeight


@contextlib.contextmanager
def constraints_of_active(weights: Sequence[MaskedWeight]) -> Iterator[None]:
    """The body may step: constraints such as UnitNorm get 0 for missing weights.

    Keras applies them within the step of the inner optimizer, and masks follow only then. A norm
    over the steps of missing weights would shrink the active ones.
    """
    constrained = [one for one in weights if one.variable.constraint is not None]
    given = [(one.variable, one.variable.constraint) for one in constrained]
    for one in constrained:
        if not _is_ours(one.variable.constraint):  # another replica's, of this step
            one.variable.constraint = _OfActive(one.variable.constraint, one)
    try:
        yield
    finally:
        for variable, constraint in given:
            variable.constraint = constraint.given if _is_ours(constraint) else constraint


class _OfActive:
    """A constraint of a weight whose missing weights are 0."""

    def __init__(self, given: Callable[[Any], Any], weight: MaskedWeight) -> None:
        self.given = given
        self._weight = weight

    def __call__(self, variable: Any) -> Any:
        mask, weight = map(keras.ops.convert_to_tensor, (self._weight.mask_variable, variable))
        return self.given(keras.ops.where(mask, weight, keras.ops.zeros_like(weight)))


def _is_ours(constraint: Any) -> bool:
    return isinstance(constraint, _OfActive)
