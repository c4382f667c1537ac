"""The page of the benchmark of predictions has a table for each machine and number of threads."""

import pytest

from benchmarks import inference

SECONDS = {
    "TensorFlow": [0.8, 0.4],
    "XLA": [0.5, 0.5],
    "ONNX Runtime": [0.2, 0.2],
    "ours 0.1": [0.1, 0.1],
    "ours 0.05": [0.05, 0.05],
}


def cell(network, batch, threads, machine, **more):
    measured = {"date": "2026-11-26", "machine": machine, "versions": "Python 3"}
    key = {"network": network, "batch": batch, "threads": threads, "missing": ["OpenVINO"]}
    return {**key, "seconds": SECONDS, "measured": measured, **more}


def test_a_table_for_each_machine_and_number_of_threads():
    cells = [
        cell("ViT", 8, 1, "B", difference=2e-6),
        cell("MLP", 8, 1, "A", remark="Ours is old"),
        cell("MLP", 1, 1, "A"),
        cell("MLP", 1, 2, "A"),
    ]
    tables = inference.page(cells).split("\n## ")[1:]
    assert [table.splitlines()[0] for table in tables] == [
        "In one thread: A",
        "In one thread: B",
        "In 2 threads: A",
    ]
    rows = [line for line in tables[0].splitlines() if line.startswith("| MLP")]
    assert [row.split("|")[2].strip() for row in rows] == ["1", "8"]
    assert "MLP at 8:\nOurs is old.\n" in tables[0]
    assert "Ours is old" not in tables[1] + tables[2]
    assert all("Not installed, and not measured: OpenVINO." in table for table in tables)


def test_a_row_has_milliseconds_the_fastest_over_ours_and_the_difference():
    row = inference._row(cell("MLP", 1, 1, "A", difference=2e-6))
    named = dict(zip(inference.COLUMNS, row, strict=True))
    assert (named["TensorFlow"], named["LiteRT"], named["ours 0.1"]) == ("600.00", "", "100.00")
    assert (named["best / ours 0.1"], named["TF / ours 0.1"]) == ("2.00", "6.00")
    assert named["difference"] == "2e-06"


def test_contenders_in_16_bits_are_not_measured(monkeypatch, tmp_path):
    contenders = {"TensorFlow": lambda: [1.0, -2.0], "XLA": lambda: [1.0, -2.002]}
    monkeypatch.setattr(inference.inference_contenders, "contenders", lambda *_: contenders)
    with pytest.raises(SystemExit, match=r"Received: a difference of 1.0e-03 for MLP at batch 8"):
        inference.measure("MLP", tmp_path, 8, 1)
