"""The tables of error against time say what the records say."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import time_front


def record(contender, epochs, seconds, error, seed=0):
    measured = {"machine": "a machine"}
    group = {"network": "net", "images": 100, "threads": 1, "measured": measured}
    times = {"seconds": seconds, "cpu_seconds": seconds}
    own = {"contender": contender, "epochs": epochs, "seed": seed, "test_error": error}
    return {**group, **times, **own}


KNOWN = [
    record("dense", 1, 100.0, 40.0),
    record("dense", 4, 400.0, 20.0),
    record("dense-bfloat16", 1, 80.0, 40.0),
    record("dense-bfloat16", 5, 500.0, 20.0),
    record("sparse-5", 2, 50.0, 50.0),
    record("sparse-5", 8, 200.0, 19.0, seed=0),
    record("sparse-5", 8, 200.0, 21.0, seed=1),
]


def test_the_best_dense_training_of_an_error_is_the_quickest():
    assert time_front.best_dense(KNOWN) == [(80.0, 40.0), (400.0, 20.0)]


def test_a_front_has_the_means_of_the_seeds():
    assert time_front.front(KNOWN, "sparse-5") == [(50.0, 50.0), (200.0, 20.0)]


def last_row(known, contender):
    """The cells of the contender in the last table, that of the comparison."""
    lines = time_front.sections(known).splitlines()
    row = next(line for line in reversed(lines) if line.startswith(f"| {contender} "))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_table_has_the_speed_up_at_the_errors_of_the_best_dense_training():
    # 40 % lies a third of the way from 50 to 20 %, in the logarithm of 50 to 200 s: at 79.4 s.
    assert last_row(KNOWN, "sparse-5") == ["sparse-5", "1.01", "2.00", "39.83", "-"]


@pytest.mark.parametrize(("error", "cell"), [(20.0, "≥ 2.00"), (19.0, "≥ 2.00"), (21.0, "-")])
def test_a_front_that_begins_better_has_a_lower_bound(error, cell):
    known = [record("dense", 4, 400.0, 20.0), record("sparse-5", 8, 200.0, error)]
    assert last_row(known, "sparse-5")[1] == cell
