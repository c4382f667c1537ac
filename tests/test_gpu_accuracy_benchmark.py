"""The accuracy benchmark for GPUs trains what fits into its time, and tells all of it."""

import dataclasses
import time

import keras
import numpy as np
import pytest

from benchmarks import gpu_accuracy, gpu_accuracy_run, gpu_accuracy_tables

RUN = gpu_accuracy_run.Run("wrn-10-1", "weights-10", epochs=2, seed=0, images=1000, batch=100)
MEASURED = {"date": "2026-01-01", "machine": "a GPU", "versions": "jax 1"}


def line(contender, epoch, error):
    logs = {"loss": 1.0, "accuracy": 0.75, "val_accuracy": 1 - error / 100, "density": 0.1}
    run = gpu_accuracy_run.Run("wrn-10-1", contender, epochs=2, seed=0, images=1000)
    return {**gpu_accuracy_run.line_of(run, epoch, logs, 3.21), "measured": MEASURED}


def test_a_table_has_the_last_epoch_of_finished_trainings_and_another_all_epochs():
    lines = [line("dense", 1, 50), line("dense", 2, 40), line("weights-5", 1, 60)]
    text = gpu_accuracy_tables.tables(lines)
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines()]
    assert ["wrn-10-1", "dense", "2", "0", "0.1", "25.0", "40.0", "3.2"] in rows
    assert ["1", "50.0", "60.0"] in rows
    assert ["2", "40.0", ""] in rows
    assert sum(row[:1] == ["wrn-10-1"] for row in rows) == 1


def test_a_training_that_would_end_too_late_does_not_begin(monkeypatch, capsys, tmp_path):
    begun = []

    def train(run, data, path):
        begun.append(run.seed)
        time.sleep(0.2)

    monkeypatch.setattr(gpu_accuracy, "train", train)
    runs = [dataclasses.replace(RUN, seed=seed) for seed in range(3)]
    gpu_accuracy.train_all(runs, None, tmp_path / "r.jsonl", time.perf_counter() + 0.3)
    assert begun == [0]
    assert "left out: weights-10, seed 2" in capsys.readouterr().out


@pytest.mark.parametrize("contender", ["dense", "weights-10", "blocks-32-10"])
def test_a_contender_has_its_density_and_the_length_of_its_schedule(contender):
    run = dataclasses.replace(RUN, contender=contender, network="wrn-10-2")
    model, callbacks = gpu_accuracy_run.compiled(run)
    sparse = bool(callbacks)
    inner = model.optimizer.inner_optimizer if sparse else model.optimizer
    rate = inner.get_config()["learning_rate"]["config"]
    # 15 % of 20 steps rise
    assert (rate["warmup_steps"], rate["decay_steps"]) == (3, 17)
    assert sparse == (contender != "dense")
    if sparse:
        model.optimizer.build(model)
        wanted = gpu_accuracy_run.CONTENDERS[contender].density
        assert model.optimizer.total_density() == pytest.approx(wanted, rel=0.1)


def test_steps_and_the_evaluation_of_each_epoch_are_timed():
    clock = gpu_accuracy_run.step_clock()
    x, y = np.zeros((8, 2), "f"), np.zeros(8, "f")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.05))
    model.fit(x, y, 2, 2, verbose=0, validation_data=(x, y), callbacks=[clock, slow])
    figures = clock.figures()
    assert 50 <= figures["step_milliseconds"] <= figures["slow_step_milliseconds"]
    assert figures["evaluation_seconds"] >= 0
    assert len(clock.begins) == 4
