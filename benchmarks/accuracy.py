"""Measures test errors by network, method, density and seed, beside the paper's figures.

    python benchmarks/accuracy.py --network lenet-300-100 --methods dense "sparse momentum" \
        --densities 0.05 0.02 --seeds 3 --epochs 100 --workers 2 --data mnist.npz
    python benchmarks/accuracy.py --tables  # of the finished runs

Recipes and columns "paper" are from Dettmers & Zettlemoyer 2019. Each finished run is a line of the records and
is not repeated: a stopped benchmark continues where it was.
"""

import argparse
import concurrent.futures
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import accuracy_methods as methods
import accuracy_networks as networks
import accuracy_tables
import records
import report
from accuracy_run import Run, check, run_of, train

COMMAND = "python benchmarks/accuracy.py --network lenet-300-100 --data mnist.npz"
RECORDS = report.RESULTS / "accuracy.jsonl"
SHOWN = ("network", "method", "density", "epochs", "seed", "learning_rate", "growth_window", "test_error", "seconds")


def main() -> None:
    """Makes the runs that are missing and writes the tables; with ``--tables`` it only prints them."""
    arguments = _arguments()
    if not arguments.tables:
        execute(planned(arguments), arguments.data, arguments.records, arguments.workers)
    known = records.read(arguments.records)
    if not known:
        raise SystemExit(f"There are no finished runs in {arguments.records}.")
    text = report.header("Test errors by network, method and density", COMMAND, known[-1]["measured"])
    text += accuracy_tables.sections(known)
    print(text)
    if not arguments.tables:
        report.write(arguments.records.with_suffix(".md"), text)


def planned(arguments: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed, so that a benchmark that is stopped has a bit of everything."""
    runs = [run for seed in range(arguments.seeds) for method in arguments.methods for run in _of_method(arguments, method, seed)]
    for run in runs:
        check(run)
    return list(dict.fromkeys(runs))


def _of_method(arguments: argparse.Namespace, method: str, seed: int) -> list[Run]:
    network, dense = networks.network(arguments.network), method == methods.DENSE
    epochs, images = arguments.epochs or network.epochs, arguments.images or network.images
    rest: Any = {"images": images, "learning_rate": arguments.learning_rate}
    if dense:
        return [Run(arguments.network, method, 1.0, epochs, seed, **rest)]
    rest |= {"sparse_kernels": arguments.sparse_kernels, "initial_scale": arguments.initial_scale}
    windows = [methods.published_window(method) if w == "published" else w for w in arguments.growth_windows]
    return [Run(arguments.network, method, density, epochs, seed, growth_window=window, **rest) for density in arguments.densities for window in windows]


def missing(runs: Sequence[Run], path: Path) -> list[Run]:
    """Those of the runs that have no record."""
    known = {run_of(record) for record in records.read(path)}
    return [run for run in runs if run not in known]


def execute(runs: Sequence[Run], data: Path, path: Path, workers: int) -> None:
    """Trains what is missing, a process a run, and adds a line to the records for each that finishes."""
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    options: Any = {"mp_context": context, "max_tasks_per_child": 1}
    with concurrent.futures.ProcessPoolExecutor(workers, **options) as pool:
        futures = [pool.submit(train_if_missing, run, data, path) for run in missing(runs, path)]
        for future in concurrent.futures.as_completed(futures):
            if result := future.result():
                print({key: result[key] for key in SHOWN}, flush=True)


def train_if_missing(run: Run, data: Path, path: Path) -> dict[str, Any] | None:
    """Trains on one thread and adds the record; None if another program has made the run meanwhile."""
    import turns

    if not missing([run], path):
        return None
    turns.limit_threads(1)  # several runs go side by side
    result = train(run, data)
    records.add(path, result)
    return result


def _window(word: str) -> int | str | None:
    return None if word == "none" else word if word in ("published", "auto") else int(word)


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--data", type=Path, help="MNIST or CIFAR-10 as .npz in the layout of keras.datasets")
    parser.add_argument("--tables", action="store_true", help="train nothing, print the tables of the records")
    parser.add_argument("--network", default="lenet-300-100", help=f"{', '.join(networks.NAMES)} or wrn-<depth>-<width>")
    parser.add_argument("--methods", nargs="+", choices=methods.NAMES, default=["dense", "sparse momentum"])
    parser.add_argument("--densities", type=float, nargs="+", default=[0.05, 0.02])
    parser.add_argument("--growth-windows", type=_window, nargs="+", default=["published"], help="published, none, auto or numbers of steps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--images", type=int, help="to train with; default: the recipe's")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--initial-scale", choices=("auto",), help="default: none, the published method")
    parser.add_argument("--sparse-kernels", action="store_true", help="layers that skip missing weights")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs side by side, one thread each")
    parser.add_argument("--records", type=Path, default=RECORDS)
    arguments = parser.parse_args(words)
    if not (arguments.tables or arguments.data):
        parser.error("--data is needed for trainings; --tables prints the tables of the finished ones")
    return arguments


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
