"""Measures the test error of short trainings by the number of their mask updates.

    python -m benchmarks.update_period --data mnist.npz

LeNet-300-100 at 5 % density, with batch normalization and without, on the first 6,000 images of
MNIST and on scikit-learn's digits: sparse momentum from scratch, sparse momentum over the largest
weights of a trained dense network, and gradual pruning of that network. Updates are made before
each epoch, or a number of them is spread over the training. Each finished run is a line of a
``.jsonl`` file beside the table, and is not repeated.
"""

import argparse
import dataclasses
import functools
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.datasets import load_digits

import keras_sparse as ks
from benchmarks import classifier, options, records, report
from benchmarks.records import Record

DENSITY = 0.05
BATCH = {"mnist": 100, "digits": 50, "mnist, not normalised": 100}
MNIST_IMAGES, TEST_DIGITS = 6_000, 360
DENSE_EPOCHS = 10  # of the network that is fine-tuned
RATES = {"from scratch": 0.1, "fine-tuning": 0.02, "gradual pruning": 0.02}  # learning rates
EPOCHS = (1, 2, 3, 5)  # ten parts of ten epochs are the epochs
PERIODS = ("epoch", 5, 10)  # before each epoch, or parts of the training with an update between
DATA_SETS = ("mnist", "digits", "mnist, not normalised")
COMMAND = "python -m benchmarks.update_period --data mnist.npz"
NOTE = """\
Mean ± standard error of the test error in % after the last epoch. n parts: the masks change
n - 1 times, at equal distances. Gradual pruning also prunes to its final density where its schedule
ends. The last columns are the differences to updates before each epoch, seed by seed: less than 0
is better. A row of one seed says nothing about differences within a point.

"""
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    data: str
    mode: str
    epochs: int
    period: str | int
    seed: int


def main() -> None:
    """Makes the runs that are missing, then prints and writes the table."""
    arguments = _arguments()
    path = arguments.output.with_suffix(".jsonl")
    known = records.complete(path, planned(arguments), lambda run: train(run, arguments.data))
    text = report.header(
        "Test error by the number of mask updates", COMMAND, records.circumstances(known)
    )
    text += NOTE + "".join(section(data, mode, known) for data in DATA_SETS for mode in RATES)
    report.publish(arguments.output, text)


def planned(arguments: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed, the short ones first."""
    seeds = range(arguments.seeds)
    common = [(seed, epochs, data) for seed in seeds for epochs in EPOCHS for data in DATA_SETS]
    return [
        Run(data, mode, epochs, period, seed)
        for seed, epochs, data in common
        for mode in arguments.modes
        for period in PERIODS
    ]


@functools.cache
def arrays_of(data: str, file: Path) -> Arrays:
    """Images in [0, 1] and labels to train with, images and labels to test with."""
    if data == "digits":
        x, y = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(x))
        x, y = x[order].astype("float32") / 16, y[order]
        return x[TEST_DIGITS:], y[TEST_DIGITS:], x[:TEST_DIGITS], y[:TEST_DIGITS]
    with np.load(file) as found:
        images = [found[f"x_{part}"].reshape(-1, 784) for part in ("train", "test")]
        x, test = (part.astype("float32") / 255 for part in images)
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


@functools.lru_cache(maxsize=1)
def dense_weights(data: str, seed: int, file: Path) -> list[np.ndarray]:
    """Those of a network that was trained dense."""
    x, y, _, _ = arrays_of(data, file)
    keras.utils.set_random_seed(seed)
    model = classifier.compiled(
        new_model(data, x.shape[1]), keras.optimizers.SGD(0.1, momentum=0.9), jit_compile="auto"
    )
    model.fit(x, y, BATCH[data], DENSE_EPOCHS, verbose=0)
    return model.get_weights()


def train(run: Run, file: Path) -> Record:
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
    classifier.compiled(model, optimizer, jit_compile="auto")
    begun, steps = time.perf_counter(), run.epochs * -(-len(x) // BATCH[run.data])
    every = run.period if isinstance(run.period, str) else -(-steps // run.period)
    model.fit(x, y, BATCH[run.data], run.epochs, verbose=0, callbacks=[ks.UpdateMasks(every)])
    seconds = round(time.perf_counter() - begun, 1)
    error = classifier.test_error(model, x_test, y_test)
    return {"test_error": error, "density": optimizer.total_density(), "seconds": seconds}


def section(data: str, mode: str, known: Sequence[Record]) -> str:
    """The table of one data set and one kind of training."""
    rows = []
    for epochs in EPOCHS:
        errors = {period: _errors(known, (data, mode, epochs, period)) for period in PERIODS}
        seeds = sorted(set.intersection(*map(set, errors.values())))
        if seeds:
            columns = {period: [errors[period][s] for s in seeds] for period in PERIODS}
            means = map(report.mean_and_error, columns.values())
            changes = [_change(columns[period], columns["epoch"]) for period in PERIODS[1:]]
            rows.append((epochs, *means, *changes, len(seeds)))
    if not rows:
        return ""
    parts = [f"{period} parts" for period in PERIODS[1:]]
    names = ("epochs", "each epoch", *parts, *(f"{part} - epoch" for part in parts), "seeds")
    return f"## {data}, {mode}\n\n{report.table(names, rows)}\n"


def _errors(known: Sequence[Record], key: tuple[Any, ...]) -> dict[int, float]:
    """{seed: test error} of the runs with these data, mode, epochs and period."""
    names = ("data", "mode", "epochs", "period")
    own = [record for record in known if tuple(record[name] for name in names) == key]
    return {record["seed"]: record["test_error"] for record in own}


def _change(errors: Sequence[float], base: Sequence[float]) -> str:
    differences = [error - other for error, other in zip(errors, base, strict=True)]
    several = len(differences) > 1
    error = f" ± {report.standard_error(differences):.2f}" if several else ""
    return f"{statistics.mean(differences):+.2f}{error}"


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "update_period.md")
    add = parser.add_argument
    default = Path("~/.keras/datasets/mnist.npz").expanduser()
    add("--data", type=Path, default=default, help="mnist.npz")
    add("--seeds", type=int, default=3)
    add("--modes", nargs="+", choices=list(RATES), default=list(RATES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
