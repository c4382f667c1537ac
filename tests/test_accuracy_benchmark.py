"""The accuracy benchmark makes runs, repeats none, and shows them in tables and plots."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from benchmarks import accuracy, accuracy_run, accuracy_tables, records
from benchmarks import accuracy_methods as methods
from benchmarks import accuracy_networks as networks

SPARSE = accuracy_run.Run("lenet-300-100", "sparse momentum", 0.05, epochs=2, seed=0, images=400)


@pytest.fixture
def mnist(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 500), ("test", 100)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (n, 28, 28)).astype("uint8")
        arrays[f"y_{part}"] = np.arange(n) % 10
    np.savez(tmp_path / "mnist.npz", **arrays)
    return tmp_path / "mnist.npz"


@pytest.mark.parametrize("name", networks.OWN)
def test_networks_of_its_own_take_their_data(name):
    network = networks.network(name)
    images = {"mnist": (1, 28, 28, 1), "cifar10": (1, 32, 32, 3)}[network.data]
    assert network.build()(np.zeros(images)).shape == (1, 10)


def test_a_run_is_recorded_with_its_densities_and_operations_and_not_repeated(mnist, tmp_path):
    path = tmp_path / "runs.jsonl"
    records.add(path, accuracy_run.train(SPARSE, mnist))
    (record,) = records.read(path)
    assert records.run_of(accuracy_run.Run, record) == SPARSE
    assert records.missing([SPARSE], path) == []
    other = dataclasses.replace(SPARSE, learning_rate=0.01)
    assert records.missing([SPARSE, other], path) == [other]
    assert record["multiply_adds"] == {
        "lenet_300_100/dense_1/kernel": 235_200,
        "lenet_300_100/dense_2/kernel": 30_000,
        "lenet_300_100/dense_3/kernel": 1_000,
    }
    assert record["dense_training_flops"] == 2 * 2 * 400 * (2 * 235_200 + 3 * 31_000)
    assert len(record["densities"]) == 2
    assert record["densities"][0] == [0.05, 0.05, 0.05]
    # 5 % of two products, and a dense weight gradient in all steps
    first = 2 * 400 * (0.05 * (235_200 + 2 * 31_000) + 266_200)
    layers = zip((235_200, 30_000, 1_000), record["densities"][1], strict=True)
    products = [m * (d * (1 if i == 0 else 2) + 1) for i, (m, d) in enumerate(layers)]
    assert record["training_flops"] == pytest.approx(first + 2 * 400 * sum(products))
    assert record["validation_error"] is not None
    assert record["diverged"] is False
    assert 0.05 < record["exploration_rate"] < 0.1  # half of the active weights moved once


def test_a_diverged_training_is_recorded_as_such(mnist):
    record = accuracy_run.train(dataclasses.replace(SPARSE, learning_rate=1e6), mnist)
    assert record["diverged"] is True
    assert record["test_error"] >= 80
    json.dumps(record, allow_nan=False)


def test_a_window_without_sparse_kernels_is_refused():
    with pytest.raises(ValueError, match=r"needs `sparse_kernels=True`.*growth_window=10"):
        accuracy_run.check(dataclasses.replace(SPARSE, growth_window=10))


def test_runs_with_a_window_of_their_own_have_sparse_kernels():
    words = "--data mnist.npz --seeds 1 --densities 0.1 --growth-windows own none 10"
    methods_ = ["--methods", "dense", "RigL", "sparse momentum"]
    runs = accuracy.planned(accuracy._arguments([*words.split(), *methods_]))
    assert [(run.method, run.growth_window, run.sparse_kernels) for run in runs] == [
        ("dense", None, False),
        ("RigL", "auto", False),
        ("RigL", None, True),
        ("RigL", 10, True),
        ("sparse momentum", None, False),
        ("sparse momentum", 10, True),
    ]


def test_runs_with_a_growth_batch_or_adam_have_what_they_need():
    words = "--data mnist.npz --seeds 1 --densities 0.1 --methods RigL --growth-batches 1 0.25"
    runs = accuracy.planned(accuracy._arguments([*words.split(), "--optimizer", "adam"]))
    assert [(run.growth_batch, run.sparse_kernels) for run in runs] == [(1.0, False), (0.25, True)]
    assert {(run.optimizer, run.learning_rate) for run in runs} == {("adam", 0.001)}
    with pytest.raises(ValueError, match=r"needs `sparse_kernels=True`.*growth_batch=0.25"):
        accuracy_run.check(dataclasses.replace(SPARSE, growth_batch=0.25))


def test_a_growth_batch_and_adam_are_named_in_the_tables(known):
    part = {**known[0], "growth_window": 25, "growth_batch": 0.25, "sparse_kernels": True}
    text = accuracy_tables.sections([*known, part, {**known[0], "optimizer": "adam"}])
    assert "sparse momentum, window 25, growth batch 0.25, kernels" in text
    assert "400 images, Adam, learning rate 0.1" in text


def test_a_window_opens_on_time():
    assert [accuracy_run.steps_at_once(540, window) for window in (np.inf, 0, 100, 25, 1)] == [
        108,
        108,
        20,
        5,
        1,
    ]


def test_all_methods_make_their_optimizers():
    for name in methods.METHODS:
        inner = keras.optimizers.SGD(0.1, momentum=0.9)
        optimizer = methods.optimizer_of(
            name,
            inner,
            0.1,
            seed=0,
            growth_window=methods.published_window(name),
            initial_scale=None,
        )
        assert optimizer.inner_optimizer is inner


def test_networks_have_the_papers_recipes():
    wide, small = networks.network("wrn-28-2"), networks.network("lenet-5")
    assert (wide.batch, wide.images, wide.epochs, wide.augmented) == (100, 50_000, 200, True)
    assert (small.batch, small.images, small.epochs, small.augmented) == (100, 54_000, 100, False)
    # The learning rate falls tenfold after 25,000 and 50,000 of 54,000 steps.
    rates = [float(small.rate(0.1, 5_400)(step)) for step in (2500, 2501, 5000, 5001)]
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001])


def test_an_unknown_network_is_named():
    with pytest.raises(ValueError, match="name='wrn-16'"):
        networks.network("wrn-16")
    with pytest.raises(ValueError, match="name='resnet-50'"):
        networks.network("resnet-50")


@pytest.fixture
def known():
    """Records of two seeds, of sparse momentum and of a method that is better by 0.1."""
    run = dataclasses.asdict(dataclasses.replace(SPARSE, epochs=100))
    figures = {"validation_error": None, "seconds": 1.0, "dense_training_flops": 4.0}
    figures["exploration_rate"] = 0.2
    layers = {"multiply_adds": {"net/dense/kernel": 1}, "densities": [[0.1], [0.05]]}
    common = {**run, **figures, **layers, "specialisation": {"conv": [0.1, 0.4]}}
    other = {"method": "gradual pruning", "growth_window": "auto"}
    pairs = [(1.5, 1.4), (1.6, 1.5)]
    found = []
    for seed, errors in enumerate(pairs):
        base = {**common, "seed": seed}
        found.append({**base, "test_error": errors[0], "training_flops": 2.0})
        found.append({**base, **other, "test_error": errors[1], "training_flops": 1.0})
    return found


def test_the_table_has_the_papers_figure_and_the_difference_seed_by_seed(known):
    lines = [line for line in accuracy_tables.sections(known).splitlines() if line[:1] == "|"]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    cells = {name: figures for name, *figures in rows}
    expected = ["5", "2", "1.55 ± 0.05", "0.91 to 2.19", "", "", "20", "50.0", "1", "1.53 ± 0.02"]
    assert cells["sparse momentum"] == expected
    assert cells["gradual pruning"][2:5] == ["1.45 ± 0.05", "0.81 to 2.09", "-0.10 ± 0.00"]
    assert cells["gradual pruning"][7] == "25.0"


def test_runs_at_chance_count_and_are_told_apart(known):
    known = [record for record in known if record["method"] == "sparse momentum"]
    known[0]["test_error"] = 90.0
    (row,) = [line for line in accuracy_tables.sections(known).splitlines() if "at chance)" in line]
    cells = [cell.strip() for cell in row.split("|")]
    assert cells[3:5] == ["2 (1 at chance)", "45.80 ± 44.20 (others 1.60)"]


def test_plots_are_drawn_of_what_there_are_records_for(known):
    pytest.importorskip("matplotlib")
    from benchmarks import accuracy_layer_plots, accuracy_plots

    (axes,) = accuracy_plots.by_density(known).axes
    drawn = {text.get_text() for text in axes.get_legend().get_texts()}
    assert {"sparse momentum", "gradual pruning", "paper, sparse momentum"} <= drawn
    lines = accuracy_plots.by_operations(known).axes[0].containers
    assert [list(line[0].get_xdata()) for line in lines] == [[25.0], [50.0]]
    layers = accuracy_layer_plots.layers_over_time(known).axes
    assert [list(each.get_lines()[0].get_ydata()) for each in layers] == [[10.0, 5.0]] * 2
    assert accuracy_layer_plots.class_histograms(known) is None  # no dense training to compare with
    dense = {**known[0], "method": "dense", "density": 1.0}
    (axes,) = accuracy_layer_plots.class_histograms([*known, dense]).axes
    assert axes.get_legend().get_texts()[0].get_text() == "dense: mean 0.250"


def test_the_committed_records_are_of_runs_and_none_is_there_twice():
    known = [records.run_of(accuracy_run.Run, record) for record in records.read(accuracy.RECORDS)]
    assert len(set(known)) == len(known) >= 30
