"""examples/train.py compares methods, continues after a kill, repeats nothing and fine-tunes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from forked import script

import keras_sparse as ks
from examples import run_records, train

ROOT = Path(__file__).resolve().parents[1]
TRAINED = 180  # of 200 images: the last tenth validates


@pytest.fixture
def digits(tmp_path, policy):
    """A file of 200 images to train with and 50 to test with; restores the dtype policy."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 200), ("test", 50)):
        arrays[f"x_{part}"] = rng.integers(0, 256, (count, 28, 28), np.uint8)
        arrays[f"y_{part}"] = rng.integers(0, 10, count, np.uint8)
    np.savez(tmp_path / "digits.npz", **arrays)
    return tmp_path / "digits.npz"


def words(digits, output, *others):
    """A command line of train.py."""
    common = ("--data", digits, "--output", output, "--batch", 20)
    return ["lenet-300-100", *map(str, (*common, *others))]


def weights_in(file):
    """The weights of a saved network."""
    return keras.saving.load_model(file, compile=False).get_weights()


def records_in(output):
    return run_records.read(output / "results.jsonl")


@pytest.mark.backend
def test_methods_are_compared_and_finished_trainings_not_repeated(digits, tmp_path, capsys):
    methods = ("--method", "dense", "RigL", "--density", 0.2)
    command = words(digits, tmp_path, "--epochs", 1, *methods)
    train.main(command)
    told, records = capsys.readouterr().out, records_in(tmp_path)
    assert "lenet-300-100 RigL seed 0, epoch 1/1: loss" in told
    ended = [(one["method"], one["final_density"]) for one in records]
    assert ended == [("dense", 1), ("RigL", 0.2)]
    assert all(0 <= one["test_error"] <= 100 and one["seconds"] > 0 for one in records)
    assert {path.name for path in tmp_path.glob("*/*")} == {"epochs.jsonl"}
    train.main(command)
    assert "2 of 2 trainings are in" in capsys.readouterr().out
    assert records_in(tmp_path) == records
    train.main([*command, "--seeds", "2", "--method", "dense"])  # a second seed is another training
    assert [one["seed"] for one in records_in(tmp_path)] == [0, 0, 1]
    assert "│     2 │" in capsys.readouterr().out


def test_a_trained_network_becomes_sparse(digits, tmp_path):
    train.main(words(digits, tmp_path, "--epochs", 1, "--method", "dense", "--save"))
    (trained,) = tmp_path.glob("*/model.keras")
    pruned = ("--method", "GradualPruning", "--density", 0.2, "--from", trained, "--save")
    train.main(words(digits, tmp_path, "--epochs", 2, *pruned))
    last = records_in(tmp_path)[-1]
    assert (last["learning_rate"], last["final_density"]) == (pytest.approx(0.01), 0.2)
    (sparse,) = tmp_path.glob("*GradualPruning*/model.keras")
    before, after = (weights_in(file)[0] for file in (trained, sparse))
    kept = after != 0
    assert np.corrcoef(before[kept], after[kept])[0, 1] > 0.9  # it trained on, from there
    assert np.abs(before[kept]).mean() > np.abs(before).mean()


def test_snip_takes_its_masks_from_the_first_batch(digits, tmp_path):
    train.main(words(digits, tmp_path, "--epochs", 1, "--method", "SNIP", "--density", 0.2))
    assert records_in(tmp_path)[0]["final_density"] == pytest.approx(0.2, abs=1e-5)


@pytest.mark.slow
def test_a_killed_training_ends_as_an_undisturbed_one(digits, tmp_path):
    settings = ("--method", "SparseMomentum", "--epochs", 8, "--save")
    training = script(ROOT / "examples" / "train.py", *words(digits, tmp_path / "a", *settings))
    while training.poll() is None and len(epochs_in(tmp_path / "a")) < 2:
        time.sleep(0.01)
    training.kill()
    assert training.wait().returncode == -signal.SIGKILL
    assert not records_in(tmp_path / "a")
    for folder in ("a", "b"):
        train.main(words(digits, tmp_path / folder, *settings))
    assert len(epochs_in(tmp_path / "a")) in (8, 9)  # an epoch between its line and its backup
    (resumed,), (whole,) = records_in(tmp_path / "a"), records_in(tmp_path / "b")
    assert {**resumed, "seconds": 0} == {**whole, "seconds": 0}
    first, second = (next((tmp_path / folder).glob("*/model.keras")) for folder in "ab")
    for one, other in zip(weights_in(first), weights_in(second), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def epochs_in(output):
    """The lines of all epochs; while a process writes, without a part of a line."""
    text = "".join(file.read_text() for file in output.glob("*/epochs.jsonl"))
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def test_jax_needs_no_tensorflow():
    program = "import sys; from examples import runs; assert 'tensorflow' not in sys.modules"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lenet-7"], "Received: name='lenet-7'"),
        (["lenet-5", "--density", "5"], "must be in (0, 1]. Received: 5"),
        (["lenet-5", "--epochs", "0"], "must be 1 or more. Received: 0"),
        (["lenet-5", "--method", "Rigl"], "invalid choice: 'Rigl'"),
        (["lenet-5", "--from", "no.keras"], "must be a file. Received: no.keras"),
        (["lenet-5", "--data", "no.npz"], "--data must be a file. Received: no.npz"),
        (["resnet-50"], "resnet-50 needs --data: a folder of TFRecords"),
    ],
)
def test_what_cannot_work_is_refused_at_once(words, told, capsys):
    with pytest.raises(SystemExit):
        train.main(words)
    assert told in capsys.readouterr().err


def test_sparse_kernels_that_cannot_run_are_refused(digits, tmp_path, monkeypatch):
    monkeypatch.setattr(ks.ops, "available", lambda: ks.ops.Availability("there is no compiler"))
    with pytest.raises(SystemExit, match="`--sparse-kernels` cannot work: there is no compiler"):
        train.main(words(digits, tmp_path, "--sparse-kernels"))


@pytest.mark.parametrize(
    ("values", "told"), [([1.0, 2.0, 3.0], "2.00 ± 0.58"), ([1.5], "1.50"), ([None, None], "")]
)
def test_mean_and_standard_error(values, told):
    assert run_records.mean_and_error(values) == told
