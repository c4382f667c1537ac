"""``python -m keras_sparse tune``: what it measures, the rows that it fits, what it writes."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracle import needs_ops

from keras_sparse.__main__ import main
from keras_sparse.commands import tune
from keras_sparse.commands.break_even_fit import Point, break_even_density, fitted
from keras_sparse.commands.products import (
    BOTH,
    KERNEL,
    MEASURED,
    STRUCTURES,
    Measured,
    computing,
)
from keras_sparse.compute import break_even, tuned
from keras_sparse.compute.break_even import FEW_ROWS, OPEN, TRAINED, Row
from keras_sparse.compute.choice import choose
from keras_sparse.compute.cpu_kernels import MOST_ROWS, few_rows_of, kind_of
from keras_sparse.compute.library import Availability
from keras_sparse.models.turns import take_turns
from keras_sparse.rules.paths import check_writable

ROOT = Path(__file__).resolve().parents[1]
ROW = Row("convolution", "float32", "weights", 0.55, 40, 2e6, 4e6)


def command(*words):
    """The finished process of ``python -m keras_sparse`` with these words."""
    line = [sys.executable, "-m", "keras_sparse", *words]
    paths = {"PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(line, capture_output=True, text=True, env=os.environ | paths, check=False)


# --- the fit


@pytest.mark.parametrize(
    ("times", "density"),
    [
        ({0.5: 1.0, 0.2: 0.5, 0.05: 0.25}, 0.5),
        ({0.5: 1.4, 0.2: 0.6, 0.05: 0.25}, 0.35),  # between .2 and .5
        ({0.5: 3.0, 0.2: 1.6, 0.05: 0.6}, 0.11),  # between .05 and .2
        ({0.5: 0.8, 0.2: 0.5, 0.05: 0.25}, 0.7),  # beyond .5
        ({0.5: 0.5, 0.2: 0.4, 0.05: 0.3}, 1.0),
        ({0.5: 3.0, 0.2: 1.6, 0.05: 1.1}, 0.02),  # below .05
        ({0.5: 3.0, 0.2: 2.5, 0.05: 2.0}, 0.0),
        ({0.5: 0.9, 0.2: 0.9, 0.05: 0.9}, 1.0),  # the same at any density
        ({0.5: 1.1, 0.2: 1.2, 0.05: 1.3}, 0.0),
    ],
)
def test_the_break_even_density_is_where_both_take_the_same_time(times, density):
    assert break_even_density(times) == pytest.approx(density, abs=1e-3)


def test_the_fit_finds_the_row_that_made_the_points():
    true = Row("matmul", "float32", "weights", 0.42, 112, 2e6, 4e6)
    sizes = [(10**6, 8), (10**6, 64), (10**5, 512), (10**6, 4096)]
    points = [Point(weights, n, true.at(weights, n)) for weights, n in sizes]
    found = fitted(points, Row("matmul", "float32", "weights", 0.5, 180, 2e6, 4e6))
    assert found.density == pytest.approx(0.42, abs=0.01)
    assert found.half_positions == pytest.approx(112, rel=0.1)
    assert (found.key, found.call_multiply_adds) == (true.key, 2e6)


def test_a_fit_is_rather_below_a_point_than_above():
    """Two points of as many positions: the mean would be 0.4."""
    points = [Point(10**6, 10**6, 0.3), Point(10**6, 10**6, 0.5)]
    row = fitted(points, ROW)
    assert row.at(10**6, 10**6) == pytest.approx((4 * 0.3 + 0.5) / 5, abs=0.01)


def test_a_fit_stays_a_density():
    assert fitted([Point(10**6, 100, 1.0), Point(10**6, 10**4, 1.0)], ROW).density == 1
    assert fitted([Point(10**6, 100, 0.0), Point(10**6, 10**4, 0.0)], ROW).density == 0


# --- what is measured


@pytest.mark.parametrize("path", sorted(tuned.FOLDER.iterdir()), ids=lambda path: path.stem)
def test_every_shipped_row_of_known_structure_has_products_of_its_kind(path):
    for row in break_even.load(path).rows.values():
        if row.structure in STRUCTURES:
            for one in MEASURED[row.kind]:
                product = one.product(row.dtype, STRUCTURES[row.structure])
                kinds = [begin + kind_of(product) for begin in ("", TRAINED, OPEN)]
                if few_rows_of(product) is not None and one.positions <= MOST_ROWS:
                    kinds.append(FEW_ROWS)
                assert row.kind in kinds
                assert product.on(one.shape(one.channels_in)).positions == one.positions
                assert row.min_positions(product.weights) <= one.positions


@needs_ops
@pytest.mark.parametrize(
    "measured",
    [
        Measured(3, 16, 32, 6, 2),
        Measured(3, 16, 32, 6, 2, dilation=2),
        Measured(1, 16, 32, 3, 2),
        Measured(0, 16, 32, 1, 3),
    ],
    ids=lambda one: one.name,
)
def test_the_contenders_compute_the_same(measured):
    product = measured.product("float32", STRUCTURES["weights"])
    (custom, gradients) = computing(measured, product, 1.0, BOTH)()
    (dense, dense_gradients) = computing(measured, product, None, BOTH)()
    assert custom.shape == measured.shape(measured.channels_out)
    np.testing.assert_allclose(custom, dense, rtol=1e-3, atol=1e-4)
    for one, other in zip(gradients, dense_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(computing(measured, product, 1.0)(), custom)
    for density in (1.0, None):
        (by_kernel,) = computing(measured, product, density, KERNEL)()
        np.testing.assert_allclose(by_kernel, dense_gradients[1], rtol=1e-3, atol=1e-4)


def test_contenders_take_turns():
    now, calls = [0.0], []

    def contender(name, seconds):
        def call():
            calls.append(name)
            now[0] += seconds

        return call

    both = {"slow": contender("slow", 4.0), "fast": contender("fast", 1.0)}
    seconds = take_turns(both, 2, 3.0, warm_up=1, clock=lambda: now[0])
    assert seconds == {"slow": [4.0, 4.0], "fast": [1.0, 1.0]}
    assert calls == ["slow", "fast", *["slow", "fast", "fast", "fast"] * 2]


# --- the command


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Short turns, and the folder in which the table is written."""
    monkeypatch.setattr(tune, "SECONDS_OF_TURN", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    tuned.tables.cache_clear()


@needs_ops
def test_tune_writes_a_table_that_choose_reads(quick, monkeypatch, capsys):
    monkeypatch.setattr(tune, "break_even_density", lambda times: 0.3)
    assert main(["tune", "--quick"]) == 0
    printed = capsys.readouterr()
    assert "Break-even densities of" in printed.out
    path = tuned.file_of_this_machine()
    assert f"Written to {path}" in printed.err
    written = break_even.load(path)
    assert set(written.rows) == {k for k in tuned.shipped().rows if k[1] != "float16"}
    assert tuned.why_not(written) is None
    assert written.threads >= 1
    monkeypatch.delenv(tuned.VARIABLE)
    tuned.tables.cache_clear()
    assert tuned.tables().tuned == written
    for row in written.rows.values():
        if row.kind.startswith(OPEN):
            assert row.density in (0, 1)
            continue
        assert row.density > 0
        product = MEASURED[row.kind][0].product(row.dtype, STRUCTURES[row.structure])
        if row.kind == FEW_ROWS:
            predicted = dataclasses.replace(product, trains=False, positions=1)
            assert choose(predicted).break_even == row.at(product.weights, 1) > 0
        else:
            assert choose(product).break_even == row.density


@needs_ops
def test_tune_prints_json_and_names_another_file(quick, monkeypatch, capsys):
    path = quick / "folder" / "mine.json"
    assert main(["tune", "--quick", "--json", "--output", str(path)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads(path.read_text())
    assert f"Written to {path}: processes with KERAS_SPARSE_TUNING={path} read it" in printed.err


def test_tune_without_compiled_ops_cannot_run(quick, monkeypatch, capsys):
    monkeypatch.setattr(tune, "available", lambda: Availability("there is no compiler"))
    assert main(["tune", "--quick"]) == 2
    assert "Cannot run: the compiled ops are not available: there is" in capsys.readouterr().err


@needs_ops
def test_a_table_that_cannot_be_written(quick, monkeypatch, capsys):
    monkeypatch.setattr(tune, "measure", lambda *_: [])
    assert main(["tune", "--quick", "--output", str(quick)]) == 2
    assert "Cannot write the table: " in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_found_before_the_measurement(monkeypatch, tmp_path):
    table = tune.table_of([ROW], 1)
    table.save(tmp_path / "table")
    with pytest.raises(FileExistsError):
        check_writable(tmp_path / "table" / "table")
    check_writable(tmp_path / "table")
    assert break_even.load(tmp_path / "table") == table
    assert [path.name for path in tmp_path.iterdir()] == ["table"]


@needs_ops
def test_a_busy_machine_gives_a_remark(quick, monkeypatch, capsys):
    for spread, is_busy in ((0.1, False), (0.5, True)):
        result = tune.Result(ROW, ROW, [Point(10**6, 64, 0.5)], [spread])
        monkeypatch.setattr(tune, "measure", lambda *_: [result])  # noqa: B023
        assert main(["tune"]) == 0
        assert ("The machine was busy: " in capsys.readouterr().err) == is_busy


@needs_ops
@pytest.mark.slow
def test_the_command_sets_the_number_of_threads(tmp_path):
    done = command("tune", "--quick", "--threads", "1", "--json", "--output", str(tmp_path / "t"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["threads"] == 1
