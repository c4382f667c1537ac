"""Measures test errors by network, method, density and seed, beside the paper's figures.

    python -m benchmarks.accuracy --network lenet-300-100 --data mnist.npz
    python -m benchmarks.accuracy --network lenet-5 --methods RigL GraNet --densities 0.05 0.02 \
        --seeds 3 --epochs 100 --workers 2 --data mnist.npz
    python -m benchmarks.accuracy --tables  # of the finished runs

Recipes and the column "paper" are from Dettmers & Zettlemoyer 2019. Each finished run is a line of
the records and is not repeated: a stopped benchmark continues where it was.
"""

import argparse
import concurrent.futures
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import accuracy_methods as methods
from benchmarks import accuracy_networks as networks
from benchmarks import accuracy_tables, options, records, report
from benchmarks.accuracy_run import LEARNING_RATES, Run, check, train
from benchmarks.processes import pool
from examples.recipes import NETWORKS

COMMAND = "python -m benchmarks.accuracy --network lenet-300-100 --data mnist.npz"
RECORDS = report.RESULTS / "accuracy.jsonl"
SHOWN = (
    *("method", "density", "epochs", "seed", "optimizer", "growth_window", "growth_batch"),
    *("test_error", "seconds"),
)


def main() -> None:
    """Makes the runs that are missing and writes the tables; ``--tables`` only prints them."""
    arguments = _arguments()
    if not arguments.tables:
        execute(planned(arguments), arguments.data, arguments.records, arguments.workers)
    known = records.finished(arguments.records)
    title = "Test errors by network, method and density"
    text = report.header(title, COMMAND, records.circumstances(known))
    text += accuracy_tables.sections(known)
    print(text)
    if not arguments.tables:
        report.write(arguments.records.with_suffix(".md"), text)


def planned(arguments: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed, so that a benchmark that is stopped has a bit of everything."""
    kinds = [(seed, method) for seed in range(arguments.seeds) for method in arguments.methods]
    runs = [run for seed, method in kinds for run in _of_method(arguments, method, seed)]
    for run in runs:
        check(run)
    return list(dict.fromkeys(runs))


def _of_method(arguments: argparse.Namespace, method: str, seed: int) -> list[Run]:
    network = networks.network(arguments.network)
    common: Any = {
        "network": arguments.network,
        "method": method,
        "epochs": arguments.epochs or network.epochs,
        "seed": seed,
        "images": arguments.images or network.images,
        "learning_rate": arguments.learning_rate or LEARNING_RATES[arguments.optimizer],
        "optimizer": arguments.optimizer,
    }
    if method == methods.DENSE:
        return [Run(density=1.0, **common)]
    own = methods.published_window(method)
    windows = [own if window == "own" else window for window in arguments.growth_windows]
    common["initial_scale"] = arguments.initial_scale
    runs = []
    for density, window, batch in itertools.product(
        arguments.densities, windows, arguments.growth_batches
    ):
        # stock layers have no window
        kernels = arguments.sparse_kernels or window != own or batch < 1
        settings: Any = {"growth_window": window, "growth_batch": batch, "sparse_kernels": kernels}
        runs.append(Run(density=density, **settings, **common))
    return runs


def execute(runs: Sequence[Run], data: Path, path: Path, workers: int) -> None:
    """Trains what is missing, a process a run."""
    with pool(workers) as processes:
        missing = records.missing(runs, path)
        futures = [processes.submit(train_if_missing, run, data, path) for run in missing]
        for future in concurrent.futures.as_completed(futures):
            if result := future.result():
                print({key: result[key] for key in SHOWN}, flush=True)


def train_if_missing(run: Run, data: Path, path: Path) -> dict[str, Any] | None:
    """Trains on one thread and adds the record; None if another program has done it meanwhile."""
    from benchmarks import turns

    if not records.missing([run], path):
        return None
    turns.limit_threads(1)  # several runs go side by side
    result = train(run, data)
    records.add(path, result)
    return result


def _window(word: str) -> int | str | None:
    return None if word == "none" else word if word in ("own", "auto") else int(word)


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    known = ", ".join([*networks.OWN, *(name for name in NETWORKS if name != "resnet-50")])
    windows = "own (the method's); else with sparse kernels: none (all steps), auto or steps"
    add("--data", type=Path, help="MNIST or CIFAR-10 as .npz in the layout of keras.datasets")
    add("--tables", action="store_true", help="train nothing, print the tables of the records")
    add("--network", default="lenet-300-100", help=known)
    common = [methods.DENSE, "sparse momentum"]
    add("--methods", nargs="+", choices=methods.NAMES, default=common)
    add("--densities", type=float, nargs="+", default=[0.05, 0.02])
    add("--growth-windows", type=_window, nargs="+", default=["own"], help=windows)
    add("--growth-batches", type=float, nargs="+", default=[1.0], help="shares of a batch")
    add("--seeds", type=int, default=3)
    add("--epochs", type=int, help="default: the recipe's")
    add("--images", type=int, help="to train with; default: the recipe's")
    add("--optimizer", choices=tuple(LEARNING_RATES), default="sgd")
    add("--learning-rate", type=float, help=f"default: {LEARNING_RATES}")
    add("--initial-scale", choices=("auto",), help="default: none, the published method")
    add("--sparse-kernels", action="store_true", help="layers that skip missing weights")
    workers = os.cpu_count() or 1
    add("--workers", type=int, default=workers, help="runs side by side, one thread each")
    add("--records", type=Path, default=RECORDS)
    arguments = parser.parse_args(words)
    if not (arguments.tables or arguments.data):
        parser.error("--data is needed to train; --tables prints the tables of finished runs")
    return arguments


if __name__ == "__main__":
    main()
