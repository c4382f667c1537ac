"""Test errors with the initial scale of active connections, and without it.

    python -m benchmarks.initial_scale --data mnist.npz --cifar cifar10.npz

Four networks, four densities, ``initial_scale="auto"`` and ``None``, three seeds; static masks and
RigL at one density. The trainings are short: errors are far from what the networks can reach, and
only their differences count. Each finished run is a line of a ``.jsonl`` file beside the table, and
is not repeated.
"""

import argparse
import contextlib
import os
import time
import unittest.mock
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import report
from benchmarks.accuracy_networks import WEIGHT_DECAY
from benchmarks.block_accuracy import cifar_model
from benchmarks.records import add, read
from benchmarks.turns import limit_threads
from examples.data import load, load_cifar10
from examples.models import build

DENSITIES = (0.2, 0.1, 0.05, 0.02)
OTHERS_DENSITY = 0.1  # of static masks and RigL
EVERYWHERE = "everywhere"  # also before normalization, where "auto" does not scale
METHODS: dict[str, Callable[..., ks.SparseMomentum]] = {
    "sparse momentum": ks.SparseMomentum,
    "static": ks.StaticSparsity,
    "RigL": ks.RigL,
}
TEST_EXAMPLES = 5_000
COMMAND = "python -m benchmarks.initial_scale --data mnist.npz --cifar cifar10.npz"
NOTE = (
    "Mean ± standard error of the test error in % after the last epoch, on the first 5,000 test images.\n"
    'The column "difference" is the mean over seeds of the error with the initial scale less the error\n'
    "without it: below 0 the scale is better. A network that does not learn has an error of 88.6.\n"
    'Before normalization `"auto"` does not scale; "everywhere" is what it would do there.\n'
)


class Network(NamedTuple):
    """A network, and its training by SGD with a momentum of 0.9 and a cosine from the rate to 0."""

    title: str
    build: Callable[[], keras.Model]
    data: str
    examples: int
    epochs: int
    batch: int
    learning_rate: float
    dense: tuple[str, ...] = ()  # layers without masks
    sparsify: bool = False  # where the custom ops are faster
    scale: str = "auto"  # what is compared with None


class Run(NamedTuple):
    """One training."""

    network: str
    method: str  # "dense" or a key of METHODS
    density: float
    initial_scale: str | None  # None, "auto" or EVERYWHERE
    seed: int


def plain_cnn() -> keras.Model:
    """Three convolutions and a dense layer, without normalisation, initialised as Keras does."""
    kinds = ((16, 2), (32, 2), (64, 1))
    convolutions = [
        keras.layers.Conv2D(channels, 3, stride, activation="relu") for channels, stride in kinds
    ]
    head = [keras.layers.Flatten(), keras.layers.Dense(64, "relu"), keras.layers.Dense(10)]
    return keras.Sequential([keras.Input((28, 28, 1)), *convolutions, *head])


def vgg() -> keras.Model:
    """Six convolutions and a dense layer, without normalisation, initialised by ``he_normal``."""
    layers: list[Any] = [keras.Input((28, 28, 1))]
    for channels in (16, 32, 64):
        options = {"padding": "same", "activation": "relu", "kernel_initializer": "he_normal"}
        layers += [keras.layers.Conv2D(channels, 3, **options) for _ in range(2)]
        layers.append(keras.layers.MaxPooling2D())
    hidden = keras.layers.Dense(128, "relu", kernel_initializer="he_normal")
    return keras.Sequential([*layers, keras.layers.Flatten(), hidden, keras.layers.Dense(10)])


def lenet() -> keras.Model:
    """LeNet-300-100 with the paper's initial weights and penalty."""
    return build("lenet-300-100", fan_in_uniform=True, l2=WEIGHT_DECAY / 2)


NETWORKS = {
    "cnn": Network("Plain CNN, MNIST", plain_cnn, "mnist", 6_000, 6, 32, 0.05),
    "vgg": Network("VGG without batch normalization, MNIST", vgg, "mnist", 4_096, 5, 64, 0.02),
    "lenet": Network("LeNet-300-100, MNIST", lenet, "mnist", 12_000, 8, 100, 0.1),
    "cifar": Network(
        "Seven convolutions with batch normalization, CIFAR-10",
        *(cifar_model, "cifar", 3_840, 4, 128, 0.1),
        dense=("first", "classifier"),
        sparsify=True,
        scale=EVERYWHERE,
    ),
}


def main() -> None:
    """Makes the runs that are missing, then prints and writes the tables."""
    arguments = _arguments()
    records = arguments.output.with_suffix(".jsonl")
    done = {run_of(record) for record in read(records)}
    missing = [run for run in planned(arguments.networks, arguments.seeds) if run not in done]
    images: dict[str, list[np.ndarray]] = {}
    limit_threads(1)
    for run in missing:
        data = NETWORKS[run.network].data
        if data not in images:
            images[data] = images_of(data, arguments.data if data == "mnist" else arguments.cifar)
        result = train(run, images[data])
        add(records, result)
        print(result, flush=True)
    known = read(records)
    text = report.header("Test error by the initial scale", COMMAND, known[-1]["measured"]) + NOTE
    text += "".join(section(name, known) for name in NETWORKS)
    print(text)
    report.write(arguments.output, text)


def planned(networks: Sequence[str], seeds: int) -> list[Run]:
    """All runs, seed by seed, so that a benchmark that is stopped has a bit of everything."""
    kinds = [("sparse momentum", density) for density in DENSITIES] + [
        ("static", OTHERS_DENSITY),
        ("RigL", OTHERS_DENSITY),
    ]
    runs = []
    for seed in range(seeds):
        for name in networks:
            runs.append(Run(name, "dense", 1.0, None, seed))
            runs += [
                Run(name, method, density, scale, seed)
                for method, density in kinds
                for scale in (None, NETWORKS[name].scale)
            ]
    return runs


def run_of(record: dict[str, Any]) -> Run:
    """The run that a record is of."""
    return Run(*(record[key] for key in Run._fields))


def images_of(data: str, file: Path | None) -> list[np.ndarray]:
    """Images and labels to train with, images and labels to test with."""
    found: Any = load(file) if data == "mnist" else load_cifar10(file)
    most = max(network.examples for network in NETWORKS.values() if network.data == data)
    return [
        found.x_train[:most],
        found.y_train[:most],
        found.x_test[:TEST_EXAMPLES],
        found.y_test[:TEST_EXAMPLES],
    ]


def train(run: Run, parts: Sequence[np.ndarray]) -> dict[str, Any]:
    """Trains; returns the run's settings with its errors in per cent and its seconds of CPU."""
    network = NETWORKS[run.network]
    x, y, x_test, y_test = parts[0][: network.examples], parts[1][: network.examples], *parts[2:]
    keras.utils.set_random_seed(run.seed)
    steps = network.examples // network.batch
    model = compiled(run, network, steps)
    callbacks = [] if run.method == "dense" else [ks.UpdateMasks()]
    begin = time.process_time()
    n = steps * network.batch
    with scaled_everywhere() if run.initial_scale == EVERYWHERE else contextlib.nullcontext():
        history = model.fit(
            x[:n], y[:n], network.batch, network.epochs, verbose=0, callbacks=callbacks
        )
    seconds = time.process_time() - begin
    figures = {
        "test_error": 100 * (1 - model.evaluate(x_test, y_test, 500, verbose=0)[1]),
        "training_error": 100 * (1 - history.history["accuracy"][-1]),
        "seconds": seconds,
    }
    keras.utils.clear_session(free_memory=False)
    return {**run._asdict(), **{key: round(value, 3) for key, value in figures.items()}}


def scaled_everywhere() -> contextlib.AbstractContextManager[Any]:
    """While it lasts, no layer is taken for one whose outputs are normalized."""
    return unittest.mock.patch(
        "keras_sparse.training.untrained.is_scale_invariant", return_value=False
    )


def compiled(run: Run, network: Network, steps: int) -> keras.Model:
    """The network of a run, ready to train for so many steps an epoch."""
    model = network.build()
    rate = keras.optimizers.schedules.CosineDecay(network.learning_rate, network.epochs * steps)
    optimizer: Any = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    if run.method != "dense":
        model = ks.sparsify(model) if network.sparsify else model
        dense = [model.get_layer(name) for name in network.dense]
        scale = "auto" if run.initial_scale == EVERYWHERE else run.initial_scale
        settings = {"dense": dense, "initial_scale": scale, "seed": run.seed}
        optimizer = METHODS[run.method](optimizer, run.density, **settings)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def section(name: str, known: Sequence[dict[str, Any]]) -> str:
    """The table of one network."""
    found = {run_of(record): record["test_error"] for record in known if record["network"] == name}
    if not found:
        return ""
    dense = [error for run, error in found.items() if run.method == "dense"]
    rows: list[Sequence[object]] = []
    if dense:
        rows.append(("dense", "100", report.mean_and_error(dense), "", len(dense), ""))
    network, seeds = NETWORKS[name], sorted({run.seed for run in found})
    kinds = [(run.method, run.density) for run in planned([name], 1) if run.method != "dense"]
    for method, density in dict.fromkeys(kinds):
        runs = [
            [Run(name, method, density, scale, seed) for scale in (None, network.scale)]
            for seed in seeds
        ]
        pairs = [
            (found[none], found[scaled]) for none, scaled in runs if {none, scaled} <= found.keys()
        ]
        if pairs:
            figures = [report.mean_and_error(column) for column in zip(*pairs, strict=True)]
            difference = report.mean_and_error([scaled - none for none, scaled in pairs])
            rows.append((method, f"{100 * density:g}", *figures, len(pairs), difference))
    title = f"{network.title}: {network.examples:,} images, {network.epochs} epochs"
    columns = ("method", "active %", "None", network.scale, "seeds", "difference")
    return f"\n## {title}\n\n{report.table(columns, rows)}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="MNIST as .npz in the layout of keras.datasets; default: keras.datasets",
    )
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 likewise")
    parser.add_argument("--networks", nargs="*", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=report.RESULTS / "initial_scale.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
