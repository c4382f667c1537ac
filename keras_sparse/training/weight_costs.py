"""What a weight costs of a budget in multiply-adds: those it takes part in, for one example."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse._keras import eager_scope
from keras_sparse.rules.flags import check_word
from keras_sparse.tracing.multiply_adds import MultiplyAdds, count_multiply_adds

BUDGETS = ("weights", "multiply_adds")


def check_budget(budget: Any) -> str:
    """Returns ``budget``; raises ValueError unless it is one of BUDGETS."""
    check_word("budget", budget, *BUDGETS)
    return str(budget)


class WeightCosts:
    """The costs of a model's weights, which are counted once, in a trace of its call."""

    def __init__(self) -> None:
        self._known: dict[int, int] = {}

    def of(self, variable: Any, model: keras.Model | None) -> int:
        """The multiply-adds of one element of a weight, for one example.

        The output positions that it is used at; of all calls of a shared layer. If the model
        multiplies only a part of the weight, it is the mean, rounded up.

        Args:
            variable: a weight of the model.
            model: is only needed for a weight that it has not been asked of before; None: unknown.

        Raises:
            ValueError: no model, or a weight whose multiply-adds it does not tell.
        """
        if id(variable) not in self._known:
            if model is None:
                raise ValueError(UNKNOWN_MODEL.format(path=variable.path))
            with eager_scope():
                counted = count_multiply_adds(model)
            if why := _why_unknown(counted, variable, model):
                raise ValueError(UNKNOWN_COST.format(path=variable.path, why=why))
            for weight in model.weights:
                if number := counted.of_weights.get(id(weight)):
                    self._known[id(weight)] = -(-number // math.prod(weight.shape))
        return self._known[id(variable)]


def costs_by(budget: str, model: keras.Model, variables: Sequence[Any]) -> list[int] | None:
    """The costs of these weights of a model; None: the budget is in weights."""
    costs = WeightCosts()
    return None if budget == "weights" else [costs.of(v, model) for v in variables]


def _why_unknown(counted: MultiplyAdds, variable: Any, model: keras.Model) -> str | None:
    if counted.why_unknown is not None:
        return counted.why_unknown.partition(": pass")[0]
    if id(variable) not in counted.of_weights:
        return f"it is no weight of the model {model.name!r}"
    number = counted.of_weights[id(variable)]
    if number is None:
        return "the trace of the model's call does not contain them"
    return None if number else "it is in no product of the model's call"


UNKNOWN_MODEL = (
    '`budget="multiply_adds"` needs the model, whose call says how often a weight is used. Call '
    "`optimizer.build(model)` before training, or train by `fit` with the UpdateMasks callback. "
    "Received: {path!r} of a model that the optimizer does not know"
)
UNKNOWN_COST = (
    '`budget="multiply_adds"` needs the multiply-adds of every masked weight. Give the model '
    "inputs of known shape (keras.Input), name the weight in `dense`, or use "
    '`budget="weights"`. Received: {path!r}, and {why}'
)
