"""What a weight costs of a budget in multiply-adds, by hand; and why it is not known."""

from types import SimpleNamespace

import pytest

from keras_sparse.training import weight_costs
from keras_sparse.training.weight_costs import WeightCosts

KERNELS = [SimpleNamespace(path=path, shape=(2, 3)) for path in "abc"]
MODEL = SimpleNamespace(name="net", weights=KERNELS)


@pytest.fixture
def counted(monkeypatch):
    """Sets what is counted: of each kernel, or nothing and why; lists the models."""
    models = []

    def count(*numbers, why=None):
        of_weights = dict(zip(map(id, KERNELS), numbers, strict=False))
        found = SimpleNamespace(why_unknown=why, of_weights=of_weights)
        monkeypatch.setattr(
            weight_costs, "count_multiply_adds", lambda model: models.append(model) or found
        )
        return models

    return count


def test_multiply_adds_are_shared_by_the_elements_rounded_up_and_counted_once(counted):
    models, costs = counted(12, 13), WeightCosts()
    assert [costs.of(kernel, MODEL) for kernel in KERNELS[:2]] == [2, 3]
    assert costs.of(KERNELS[0], None) == 2
    assert models == [MODEL]


@pytest.mark.parametrize(
    ("numbers", "why", "message"),
    [
        ((None,), None, "the trace of the model's call does not contain them"),
        ((0,), None, "it is in no product of the model's call"),
        ((), None, "it is no weight of the model 'net'"),
        ((), "a part is unknown: pass x", "and a part is unknown$"),
    ],
)
def test_a_cost_that_is_not_known_is_an_error_that_says_why(counted, numbers, why, message):
    counted(*numbers, why=why)
    with pytest.raises(ValueError, match=f"Received: 'a', .*{message}"):
        WeightCosts().of(KERNELS[0], MODEL)


def test_without_a_model_no_cost_is_known():
    with pytest.raises(ValueError, match="needs the model.*Received: 'a'"):
        WeightCosts().of(KERNELS[0], None)


@pytest.mark.parametrize(("budget", "costs"), [("weights", None), ("multiply_adds", [2, 3])])
def test_a_budget_in_weights_has_no_costs(counted, budget, costs):
    counted(12, 13)
    assert weight_costs.costs_by(budget, MODEL, KERNELS[:2]) == costs
