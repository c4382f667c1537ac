"""Measures the test error of sparse and dense networks on MNIST, beside the paper's figures.

    # LeNet-300-100 dense, 5 % and 2 %, 100 epochs, 3 seeds
    python benchmarks/mnist_accuracy.py --data mnist.npz
    # sparse momentum and related methods at 5 %, 30 epochs
    python benchmarks/mnist_accuracy.py --data mnist.npz --methods

Recipe and column "paper" are from Dettmers & Zettlemoyer 2019. Each finished run is a line of a
``.jsonl`` file beside the table and is not repeated: a stopped benchmark continues where it was.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report
from mnist_training import METHODS, Run, train

# The paper's LeNet-300-100 by density: test error in %, and its standard error where it is given.
PAPER = {1.0: (1.34, 0.011), 0.08: (1.447, None), 0.05: (1.53, 0.020), 0.02: (1.99, 0.019), 0.015: (2.053, None), 0.01: (2.36, 0.044)}
DENSITIES = (1.0, 0.05, 0.02)
TARGETS = {0.05: 1.60, 0.02: 2.10}
METHODS_DENSITY = 0.05
DENSITIES_NOTE = 'Mean ± standard error. The published method does not scale the initial weights; "initial scale" is\n`initial_scale="auto"`.\n'
COMMAND = "python benchmarks/mnist_accuracy.py --data mnist.npz"
METHODS_NOTE = (
    "Every method as its class in keras_sparse has it by default, but without an initial scale; with the same learning rate, penalty\n"
    "and epochs, and a mask update before each epoch: SET starts from the Erdos-Renyi distribution, RigL from ERK, the others from the uniform one.\n"
)


def main() -> None:
    """Makes the runs that are missing, then prints and writes the tables."""
    arguments = _arguments()
    records = arguments.output.with_suffix(".jsonl")
    epochs = arguments.epochs or (30 if arguments.methods else 100)
    runs = planned(arguments.methods, epochs, arguments.seeds)
    execute([run for run in runs if not records_of(read(records), [run])], arguments.data, records, arguments.workers)
    known = read(records)
    text = report.header("Test error of LeNet-300-100 on MNIST", COMMAND, known[-1]["measured"])
    for section in (densities_section(known, arguments.seeds), methods_section(known, arguments.seeds)):
        text += section
    print(text)
    report.write(arguments.output, text)


def planned(methods: bool, epochs: int, seeds: int) -> list[Run]:
    """The runs of one table, seed by seed, so that a benchmark that is stopped has a bit of everything."""
    kinds: list[tuple[str, float, str | None]]
    if methods:
        kinds = [(method, METHODS_DENSITY, None) for method in METHODS]
    else:
        kinds = [("dense" if d == 1 else "sparse momentum", d, None) for d in DENSITIES]
        kinds += [("sparse momentum", d, "auto") for d in DENSITIES if d < 1]
    return [Run(*kind[:2], epochs, seed, kind[2]) for seed in range(seeds) for kind in kinds]


def execute(runs: Sequence[Run], data: Path, records: Path, workers: int) -> None:
    """Trains, a process a run, and adds a line to the records for each that finishes."""
    records.parent.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        for future in concurrent.futures.as_completed([pool.submit(train, run, data) for run in runs]):
            result = future.result()
            with records.open("a") as file:
                file.write(json.dumps({**result, "measured": report.circumstances()}) + "\n")
            print({key: result[key] for key in ("method", "density", "epochs", "seed", "initial_scale", "test_error", "seconds")}, flush=True)


def densities_section(known: list[dict[str, Any]], seeds: int) -> str:
    """Dense against sparse momentum, for the longest training there is."""
    epochs = max((record["epochs"] for record in known if record["method"] == "dense"), default=None)
    if epochs is None:
        return ""
    rows = []
    runs = planned(False, epochs, seeds)
    for density, scale in dict.fromkeys((run.density, run.initial_scale) for run in runs):
        found = records_of(known, [run for run in runs if (run.density, run.initial_scale) == (density, scale)])
        if found:
            target = f"{TARGETS[density]:.2f}" if density in TARGETS else ""
            error, standard_error = PAPER[density]
            name = _per_cent(density) + (", initial scale" if scale else "")
            rows.append((name, *_figures(found), f"{error:.2f} ± {standard_error:.2f}", target))
    columns = ("weights", "test error %", "validation error %", "seeds", "seconds a run", "paper, test error %", "at most")
    return f"## Sparse momentum, {epochs} epochs\n\n{DENSITIES_NOTE}\n{report.table(columns, rows)}\n"


def methods_section(known: list[dict[str, Any]], seeds: int) -> str:
    """The methods against each other, for the training length in which most of them are known."""
    lengths = [record["epochs"] for record in known if record["method"] not in ("dense", "sparse momentum")]
    if not lengths:
        return ""
    epochs = statistics.mode(lengths)
    rows = []
    for method in METHODS:
        found = records_of(known, [run for run in planned(True, epochs, seeds) if run.method == method])
        if found:
            rows.append((method, *_figures(found), f"{100 * statistics.mean(record['final_density'] for record in found):.2f}"))
    columns = ("method", "test error %", "validation error %", "seeds", "seconds a run", "final density %")
    title = f"## Methods at {_per_cent(METHODS_DENSITY)} of the weights, {epochs} epochs"
    return f"{title}\n\nCommand: `{COMMAND} --methods`\n\n{METHODS_NOTE}\n{report.table(columns, rows)}\n"


def _figures(found: list[dict[str, Any]]) -> tuple[str, str, int, str]:
    errors = [report.mean_and_error([record[key] for record in found]) for key in ("test_error", "validation_error")]
    return errors[0], errors[1], len(found), f"{statistics.mean(record['seconds'] for record in found):.0f}"


def _per_cent(density: float) -> str:
    return "all (dense)" if density == 1 else f"{100 * density:g} %"


def read(records: Path) -> list[dict[str, Any]]:
    """All finished runs."""
    return [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []


def records_of(known: list[dict[str, Any]], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The records of these runs."""
    keys = ("method", "density", "epochs", "seed")
    return [record for record in known if Run(*(record[key] for key in keys), record.get("initial_scale")) in runs]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="MNIST in the layout of keras.datasets: x_train, y_train, x_test, y_test")
    parser.add_argument("--methods", action="store_true", help="compare methods instead of densities")
    parser.add_argument("--epochs", type=int, help="100; with --methods 30")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="runs side by side, one thread each")
    parser.add_argument("--output", type=Path, default=report.RESULTS / "mnist_accuracy.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
