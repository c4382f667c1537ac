"""Test errors with the initial scale of active connections, and without it.

    python -m benchmarks.initial_scale --data mnist.npz --cifar cifar10.npz

Four networks, four densities, ``initial_scale="auto"`` and ``None``, three seeds; static masks and
RigL at one density. The trainings are short: errors are far from what the networks can reach, and
only their differences count. Each finished run is a line of a ``.jsonl`` file beside the table, and
is not repeated.
"""

import argparse
import contextlib
import dataclasses
import time
import unittest.mock
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import classifier, options, records, report
from benchmarks.initial_scale_networks import EVERYWHERE, NETWORKS, Network
from benchmarks.records import Record
from benchmarks.turns import limit_threads
from examples.data import load, load_cifar10

DENSITIES = (0.2, 0.1, 0.05, 0.02)
OTHERS_DENSITY = 0.1  # of static masks and RigL
METHODS: dict[str, Callable[..., ks.SparseMomentum]] = {
    "sparse momentum": ks.SparseMomentum,
    "static": ks.StaticSparsity,
    "RigL": ks.RigL,
}
TEST_EXAMPLES = 5_000
COMMAND = "python -m benchmarks.initial_scale --data mnist.npz --cifar cifar10.npz"
NOTE = """\
Mean ± standard error of the test error in % after the last epoch, on the first 5,000 test
images. The column "difference" is the mean over seeds of the error with the initial scale less the
error without it: below 0 the scale is better. A network that does not learn has an error of 88.6.
Before normalization `"auto"` does not scale; "everywhere" is what it would do there.
"""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    method: str  # "dense" or a key of METHODS
    density: float
    initial_scale: str | None  # None, "auto" or EVERYWHERE
    seed: int


def main() -> None:
    """Makes the runs that are missing, then prints and writes the tables."""
    arguments = _arguments()
    limit_threads(1)
    files = {"mnist": arguments.data, "cifar": arguments.cifar}
    images: dict[str, list[np.ndarray]] = {}

    def make(run: Run) -> Record:
        data = NETWORKS[run.network].data
        if data not in images:
            images[data] = images_of(data, files[data])
        return train(run, images[data])

    runs = planned(arguments.networks, arguments.seeds)
    known = records.complete(arguments.output.with_suffix(".jsonl"), runs, make)
    head = report.header("Test error by the initial scale", COMMAND, records.circumstances(known))
    text = head + NOTE
    text += "".join(section(name, known) for name in NETWORKS)
    report.publish(arguments.output, text)


def planned(names: Sequence[str], seeds: int) -> list[Run]:
    """All runs, seed by seed, so that a benchmark that is stopped has a bit of everything."""
    kinds = [("sparse momentum", density) for density in DENSITIES]
    kinds += [("static", OTHERS_DENSITY), ("RigL", OTHERS_DENSITY)]
    runs = []
    for seed in range(seeds):
        for name in names:
            runs.append(Run(name, "dense", 1.0, None, seed))
            scales = (None, NETWORKS[name].scale)
            runs += [Run(name, *kind, scale, seed) for kind in kinds for scale in scales]
    return runs


def images_of(data: str, file: Path | None) -> list[np.ndarray]:
    """Images and labels to train with, images and labels to test with."""
    found: Any = load(file) if data == "mnist" else load_cifar10(file)
    n = max(network.examples for network in NETWORKS.values() if network.data == data)
    test = found.x_test[:TEST_EXAMPLES], found.y_test[:TEST_EXAMPLES]
    return [found.x_train[:n], found.y_train[:n], *test]


def train(run: Run, parts: Sequence[np.ndarray]) -> Record:
    """Trains; its errors in % and its seconds of CPU."""
    network = NETWORKS[run.network]
    steps = network.examples // network.batch
    n = steps * network.batch
    keras.utils.set_random_seed(run.seed)
    model = compiled(run, network, steps)
    callbacks = [] if run.method == "dense" else [ks.UpdateMasks()]
    settings: Any = {"epochs": network.epochs, "verbose": 0, "callbacks": callbacks}
    is_everywhere = run.initial_scale == EVERYWHERE
    begin = time.process_time()
    with scaled_everywhere() if is_everywhere else contextlib.nullcontext():
        history = model.fit(parts[0][:n], parts[1][:n], network.batch, **settings).history
    figures = {
        "seconds": time.process_time() - begin,
        "test_error": classifier.test_error(model, *parts[2:]),
        "training_error": 100 * (1 - history["accuracy"][-1]),
    }
    keras.utils.clear_session(free_memory=False)
    return {key: round(value, 3) for key, value in figures.items()}


def scaled_everywhere() -> contextlib.AbstractContextManager[Any]:
    """While it lasts, no layer is taken for one whose outputs are normalized."""
    return unittest.mock.patch(
        "keras_sparse.training.untrained.is_scale_invariant", return_value=False
    )


def compiled(run: Run, network: Network, steps: int) -> keras.Model:
    """The network of a run, ready to train for a number of steps per epoch."""
    model = network.build()
    rate = keras.optimizers.schedules.CosineDecay(network.learning_rate, network.epochs * steps)
    optimizer: Any = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    if run.method != "dense":
        model = ks.sparsify(model) if network.sparsify else model
        dense = [model.get_layer(name) for name in network.dense]
        scale = "auto" if run.initial_scale == EVERYWHERE else run.initial_scale
        settings = {"dense": dense, "initial_scale": scale, "seed": run.seed}
        optimizer = METHODS[run.method](optimizer, run.density, **settings)
    return classifier.compiled(model, optimizer)


def section(name: str, known: Sequence[Record]) -> str:
    """The table of one network."""
    own = [record for record in known if record["network"] == name]
    if not own:
        return ""
    found = {records.run_of(Run, record): record["test_error"] for record in own}
    network, dense = NETWORKS[name], [error for run, error in found.items() if run.density == 1]
    rows: list[Sequence[object]] = []
    if dense:
        rows.append(("dense", "100", report.mean_and_error(dense), "", len(dense), ""))
    kinds = [(run.method, run.density) for run in planned([name], 1) if run.method != "dense"]
    for method, density in dict.fromkeys(kinds):
        if pairs := _pairs(found, name, method, density):
            figures = [report.mean_and_error(column) for column in zip(*pairs, strict=True)]
            difference = report.mean_and_error([scaled - none for none, scaled in pairs])
            rows.append((method, f"{100 * density:g}", *figures, len(pairs), difference))
    title = f"{network.title}: {network.examples:,} images, {network.epochs} epochs"
    columns = ("method", "active %", "None", network.scale, "seeds", "difference")
    return f"\n## {title}\n\n{report.table(columns, rows)}"


def _pairs(
    found: dict[Run, float], name: str, method: str, density: float
) -> list[tuple[float, float]]:
    """The errors without the scale and with it, of each seed that has both."""
    pairs = []
    for seed in sorted({run.seed for run in found}):
        scales = (None, NETWORKS[name].scale)
        none, scaled = (Run(name, method, density, scale, seed) for scale in scales)
        if {none, scaled} <= found.keys():
            pairs.append((found[none], found[scaled]))
    return pairs


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "initial_scale.md")
    add = parser.add_argument
    add("--data", type=Path, help="MNIST as .npz, as keras.datasets has it; default: from there")
    add("--cifar", type=Path, help="CIFAR-10 likewise")
    add("--networks", nargs="*", choices=tuple(NETWORKS), default=tuple(NETWORKS))
    add("--seeds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
