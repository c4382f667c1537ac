"""The tables of error against time say what the records say."""

import pytest

from benchmarks import time_front, time_plot


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


def cells_of(known, contender, epochs):
    """The row of a point: contender, epochs, error, seeds, two times and two comparisons."""
    lines = [line.strip("|").split("|") for line in time_front.sections(known).splitlines()]
    rows = [[cell.strip() for cell in line] for line in lines]
    return next(row for row in rows if row[:2] == [contender, str(epochs)])


def test_a_point_is_compared_at_its_error_and_at_its_time():
    error, seconds = "20.00 ± 1.00", "200 ± 0"
    row = cells_of(KNOWN, "sparse-5", 8)
    assert row[2:6] == [error, "2", seconds, seconds]
    # dense has 20 % after 400 s; 200 s are ln(2.5) / ln(5) of the way from 80 to 400 s
    assert row[6:] == ["2.00", "28.61"]


def test_what_lies_outside_of_the_dense_front_is_not_guessed():
    # 50 % after 50 s: the shortest dense training has 40 % after 80 s
    assert cells_of(KNOWN, "sparse-5", 2)[6:] == ["≤ 1.60", "-"]
    assert cells_of([*KNOWN, record("sparse-5", 9, 300.0, 10.0)], "sparse-5", 9)[6] == "-"


def test_a_dense_training_that_is_slower_and_worse_is_not_in_the_front():
    worse = record("dense-fused", 1, 90.0, 41.0)
    assert time_front.best_dense([*KNOWN, worse]) == time_front.best_dense(KNOWN)


def test_each_network_has_a_table_with_its_own_dense_trainings():
    other = [
        {**record("dense-fused", 1, 10.0, 40.0), "network": "other"},
        {**record("dense-fused", 4, 40.0, 20.0), "network": "other"},
        {**record("rigl-5", 2, 10.0, 20.0), "network": "other"},
    ]
    tables = time_front.sections([*KNOWN, *other]).split("## ")[1:]
    assert [table.split(",")[0] for table in tables] == ["net", "other"]
    assert "| rigl-5 " not in tables[0]
    assert cells_of(other, "rigl-5", 2)[6:] == ["4.00", "40.00"]


def test_each_network_has_a_plot_of_its_own(tmp_path):
    pytest.importorskip("matplotlib")
    other = [{**record("rigl-5", 2, 10.0, 20.0), "network": "other"}]
    written = time_plot.plot([*KNOWN, *other], tmp_path / "plot.png")
    names = {f"plot_{network}.png" for network in {"other", *(each["network"] for each in KNOWN)}}
    assert {path.name for path in written} == names
    assert all(path.stat().st_size > 1000 for path in written)


@pytest.mark.parametrize(
    ("points", "on_the_plot"), [((3, 1), [0]), ((4, 2), [0]), ((5, 4), [0, 1])]
)
def test_few_points_of_a_machine_have_no_panel_beside_those_of_another(points, on_the_plot):
    records = [
        {**record("rigl-5", epochs, 10.0, 20.0), "threads": threads}
        for threads, count in enumerate(points)
        for epochs in range(count)
        for _ in ("a seed", "another")
    ]
    assert [group[2] for group in time_plot.panels(records)] == on_the_plot
