"""What an epoch logs of the masks, by hand: of one optimizer, of two, of none masked."""

import dataclasses

import pytest

from keras_sparse.training.density_log import DensityLog


@dataclasses.dataclass
class Weight:
    name: str
    size: int
    active: int
    ever: int
    cost: int

    def counts(self):
        return self.active, self.ever


@dataclasses.dataclass
class Optimizer:
    name: str
    masked_weights: list
    budget: str = "weights"
    steps: int = 7

    def step(self):
        return self.steps


A, B = Weight("a/kernel", 10, 2, 5, 4), Weight("b/kernel", 30, 6, 9, 1)


def logged(optimizers, log=None, epoch=0, **logs):
    log = log or DensityLog(log_layers=False)
    log.log(epoch, logs, optimizers)
    return logs, log.history


def test_densities_are_shares_of_all_weights():
    logs, history = logged([Optimizer("one", [A, B])], loss=1.0)
    assert logs == {"loss": 1.0, "density": 8 / 40, "exploration_rate": 14 / 40}
    assert history == {
        "step": [7],
        "a/kernel": [0.2],
        "b/kernel": [0.2],
        "exploration_rate": [14 / 40],
    }


def test_a_budget_in_multiply_adds_has_a_density_of_its_own():
    optimizers = [Optimizer("one", [A]), Optimizer("two", [B], "multiply_adds", 9)]
    logs, history = logged(optimizers)
    assert logs["multiply_adds_density"] == (2 * 4 + 6) / (10 * 4 + 30)
    assert history["step"] == [7]  # of the first
    assert list(history) == ["step", "one/a/kernel", "two/b/kernel", "exploration_rate"]


def test_without_a_masked_weight_all_is_dense():
    logs, _ = logged([Optimizer("one", [], "multiply_adds")])
    assert logs == {"density": 1.0, "exploration_rate": 1.0, "multiply_adds_density": 1.0}


def test_layers_are_logged_on_request_and_everything_without_logs_too():
    log = DensityLog(log_layers=True)
    assert logged([Optimizer("one", [A])], log)[0]["density/a/kernel"] == 0.2
    log.log(1, None, [Optimizer("one", [A])])
    assert log.history == {"step": [7, 7], "a/kernel": [0.2] * 2, "exploration_rate": [0.5] * 2}


def test_other_masked_weights_begin_a_new_history():
    log = DensityLog(log_layers=False)
    logged([Optimizer("one", [A])], log)
    _, history = logged([Optimizer("one", [A, B], steps=9)], log)
    assert history["step"] == [9]
    assert history["a/kernel"] == history["b/kernel"] == [0.2]


def test_an_epoch_is_logged_once_and_another_training_logs_again():
    log, model = DensityLog(log_layers=False), object()
    log.begin(model)
    assert not log.is_logged(0)
    logged([Optimizer("one", [A])], log)
    assert (log.is_logged(0), log.is_logged(1)) == (True, False)
    log.end_epoch()
    assert not log.is_logged(0)
    logged([Optimizer("one", [A])], log)
    log.begin(model)
    assert not log.is_logged(0)
    assert log.history["step"] == [7, 7]
    log.begin(object())
    assert log.history == {}


def test_a_metric_of_the_name_keeps_it_and_one_warning_says_so():
    log, optimizers = DensityLog(log_layers=False), [Optimizer("one", [A])]
    with pytest.warns(UserWarning, match='a metric called "exploration_rate"'):
        logged(optimizers, log, exploration_rate=9.0)
    logs, _ = logged(optimizers, log, epoch=1, exploration_rate=9.0)
    assert logs == {"exploration_rate": 9.0, "density": 0.2, "mask_exploration_rate": 0.5}


def test_a_suffix_tells_callbacks_apart():
    log = DensityLog(log_layers=False)
    log.suffix = "/one"
    logs, _ = logged([Optimizer("one", [A])], log, density=9.0)
    assert logs == {"density": 9.0, "density/one": 0.2, "exploration_rate/one": 0.5}
