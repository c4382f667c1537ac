"""Measures the test error of short trainings by the number of their mask updates.

    python -m benchmarks.update_period --data mnist.npz

LeNet-300-100 at 5 % density, with batch normalization and without, on the first 6,000 images of
MNIST and on scikit-learn's digits: sparse momentum from scratch, sparse momentum over the largest
weights of a trained dense network, and gradual pruning of that network. Updates are made before
each epoch, or a number of them is spread over the training. Each finished run is a line of a ``.jsonl`` file beside the table, and is not repeated.
"""

import argparse
import functools
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_sparse as ks
from benchmarks import report
from benchmarks.records import add, read

DENSITY = 0.05
BATCH = {"mnist": 100, "digits": 50, "mnist, not normalised": 100}
MNIST_IMAGES, TEST_DIGITS = 6_000, 360
DENSE_EPOCHS = 10  # of the network that is fine-tuned
RATES = {"from scratch": 0.1, "fine-tuning": 0.02, "gradual pruning": 0.02}  # learning rates
EPOCHS = (1, 2, 3, 5)  # ten parts of ten epochs are the epochs
PERIODS = (
    "epoch",
    5,
    10,
)  # before each epoch, or so many parts of the training with an update between
DATA_SETS = ("mnist", "digits", "mnist, not normalised")
COMMAND = "python -m benchmarks.update_period --data mnist.npz"
NOTE = (
    "Mean ± standard error of the test error in % after the last epoch. n parts: the masks change n - 1 times, at\n"
    "equal distances. Gradual pruning also prunes to its final density where its schedule ends. The last columns\n"
    "are the differences to updates before each epoch, seed by seed: less than 0 is better. A row of one seed says\n"
    "nothing of differences within a point.\n\n"
)
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Run(NamedTuple):
    """One training."""

    data: str
    mode: str
    epochs: int
    period: str | int
    seed: int


def main() -> None:
    """Makes the runs that are missing, then prints and writes the table."""
    arguments = _arguments()
    records = arguments.output.with_suffix(".jsonl")
    planned = [
        Run(data, mode, epochs, period, seed)
        for seed in range(arguments.seeds)
        for epochs in EPOCHS
        for data in DATA_SETS
        for mode in arguments.modes
        for period in PERIODS
    ]
    for run in [run for run in planned if run not in map(run_of, read(records))]:
        result = train(run, arguments.data)
        add(records, {**run._asdict(), **result})
        print(*run, result, flush=True)
    known = read(records)
    text = report.header("Test error by the number of mask updates", COMMAND, known[-1]["measured"])
    text += NOTE + "".join(section(data, mode, known) for data in DATA_SETS for mode in RATES)
    print(text)
    report.write(arguments.output, text)


def run_of(record: dict[str, Any]) -> Run:
    """The run that a record is of."""
    return Run(*(record[key] for key in Run._fields))


@functools.cache
def arrays_of(data: str, file: Path) -> Arrays:
    """Images in [0, 1] and labels to train with, images and labels to test with."""
    if data == "digits":
        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order].astype("float32") / 16, y[order]
        return x[TEST_DIGITS:], y[TEST_DIGITS:], x[:TEST_DIGITS], y[:TEST_DIGITS]
    with np.load(file) as found:
        x, test = (
            found[f"x_{part}"].reshape(-1, 784).astype("float32") / 255
            for part in ("train", "test")
        )
        return x[:MNIST_IMAGES], found["y_train"][:MNIST_IMAGES], test, found["y_test"]


def new_model(data: str, inputs: int) -> keras.Model:
    """LeNet-300-100, with batch normalization (over few steps) or without."""
    layers: list[Any] = [keras.Input((inputs,))]
    for units in (300, 100):
        if "not normalised" in data:
            layers.append(keras.layers.Dense(units, "relu"))
        else:
            norm = keras.layers.BatchNormalization(momentum=0.9)
            layers += [keras.layers.Dense(units, use_bias=False), norm, keras.layers.ReLU()]
    return keras.Sequential([*layers, keras.layers.Dense(10)])


def compiled(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.Model:
    """With the loss and the metric of all runs."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


@functools.lru_cache(maxsize=1)
def dense_weights(data: str, seed: int, file: Path) -> list[np.ndarray]:
    """Those of a network that was trained dense."""
    x, y, _, _ = arrays_of(data, file)
    keras.utils.set_random_seed(seed)
    model = compiled(new_model(data, x.shape[1]), keras.optimizers.SGD(0.1, momentum=0.9))
    model.fit(x, y, BATCH[data], DENSE_EPOCHS, verbose=0)
    return model.get_weights()


def train(run: Run, file: Path) -> dict[str, float]:
    """One training; its test error in %, its final density and its seconds."""
    x, y, x_test, y_test = arrays_of(run.data, file)
    dense = None if run.mode == "from scratch" else dense_weights(run.data, run.seed, file)
    keras.utils.set_random_seed(run.seed)
    model = new_model(run.data, x.shape[1])
    if dense is not None:
        model.set_weights(dense)
    inner = keras.optimizers.SGD(RATES[run.mode], momentum=0.9)
    if run.mode == "gradual pruning":
        optimizer = ks.GradualPruning(inner, DENSITY)
    else:
        kind = "random" if dense is None else "magnitude"
        optimizer = ks.SparseMomentum(inner, DENSITY, initial_masks=kind, seed=run.seed)
    compiled(model, optimizer)
    begun, steps = time.perf_counter(), run.epochs * -(-len(x) // BATCH[run.data])
    every = run.period if isinstance(run.period, str) else -(-steps // run.period)
    model.fit(x, y, BATCH[run.data], run.epochs, verbose=0, callbacks=[ks.UpdateMasks(every)])
    seconds = time.perf_counter() - begun
    accuracy = model.evaluate(x_test, y_test, 1000, verbose=0)[1]
    return {
        "test_error": 100 * (1 - accuracy),
        "density": optimizer.total_density(),
        "seconds": round(seconds, 1),
    }


def section(data: str, mode: str, known: Sequence[dict[str, Any]]) -> str:
    """The table of one data set and one kind of training."""
    rows = []
    for epochs in EPOCHS:
        errors = {
            period: {
                r["seed"]: r["test_error"]
                for r in known
                if run_of(r)[:4] == (data, mode, epochs, period)
            }
            for period in PERIODS
        }
        seeds = sorted(set.intersection(*(set(found) for found in errors.values())))
        if seeds:
            means = [
                report.mean_and_error([errors[period][s] for s in seeds]) for period in PERIODS
            ]
            changes = [
                _change([errors[p][s] - errors["epoch"][s] for s in seeds]) for p in PERIODS[1:]
            ]
            rows.append((epochs, *means, *changes, len(seeds)))
    if not rows:
        return ""
    parts = [f"{period} parts" for period in PERIODS[1:]]
    columns = ("epochs", "each epoch", *parts, *(f"{part} - epoch" for part in parts), "seeds")
    return f"## {data}, {mode}\n\n{report.table(columns, rows)}\n"


def _change(differences: Sequence[float]) -> str:
    error = f" ± {report.standard_error(differences):.2f}" if len(differences) > 1 else ""
    return f"{statistics.mean(differences):+.2f}{error}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("~/.keras/datasets/mnist.npz").expanduser(),
        help="mnist.npz",
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--modes", nargs="+", choices=list(RATES), default=list(RATES))
    parser.add_argument("--output", type=Path, default=report.RESULTS / "update_period.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
