"""Measures test errors of a wide ResNet on CIFAR-10, dense and sparse, on one GPU.

    # every contender, seed 0; no training begins that would not end within 200 s
    python -m benchmarks.gpu_accuracy --data cifar10.npz --epochs 15 --until 200
    # of the finished trainings
    python -m benchmarks.gpu_accuracy --tables
    # on a CPU: a tiny network, whose errors mean nothing
    python -m benchmarks.gpu_accuracy --data cifar10.npz --rehearse

All contenders train for the same number of epochs, from random weights: SGD with Nesterov momentum,
a learning rate that rises, and falls to 0 along a cosine, images moved and mirrored. Masks change
before each epoch but the first. With blocks, the first and the last layer are dense. Each epoch is
a line of the records at once.

The backend is JAX unless KERAS_BACKEND says otherwise, and needs no TensorFlow. There, products are
dense, of weights that are zero where they are missing: seconds say nothing about sparse kernels.
With KERAS_BACKEND=tensorflow, `kernels-32-10` and `kernels-32-5` train by sparse kernels.
"""

import argparse
import dataclasses
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import options, records, report
from benchmarks.gpu_accuracy_run import CONTENDERS, Run, facts, train
from benchmarks.gpu_accuracy_tables import tables

PRECISION = "mixed_bfloat16"
IMAGES = 50_000  # of CIFAR-10
REHEARSED: dict[str, Any] = {"network": "wrn-10-1", "images": 1000, "epochs": 2, "batch": 100}


DEFAULT = ("dense", "weights-10", "blocks-32-10", "weights-5")


def main() -> None:
    """Trains what the arguments ask for, and prints the tables; `--tables` writes them."""
    arguments = _arguments()
    begin = time.perf_counter()
    if arguments.tables:
        text = tables(records.finished(arguments.records))
        report.write(arguments.records.with_suffix(".md"), text)
        return
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    print(f"Keras {keras.version()} on {facts()['machine']}, {facts()['versions']}", flush=True)
    keras.config.set_dtype_policy(PRECISION)
    train_all(planned(arguments), _images(arguments), arguments.records, begin + arguments.until)
    print(tables(records.finished(arguments.records)))


def planned(arguments: argparse.Namespace) -> list[Run]:
    """All runs, seed by seed, so that a part of them is of use."""
    how: dict[str, Any] = {"network": arguments.network, "images": IMAGES}
    how["epochs"] = arguments.epochs
    if arguments.rehearse:
        how |= REHEARSED
    return [
        Run(contender=name, seed=seed, **how)
        for seed in arguments.seeds
        for name in arguments.contenders
    ]


def train_all(runs: Sequence[Run], data: Any, path: Path, deadline: float) -> None:
    """Trains one after the other, those that are likely to end before the deadline."""
    longest = 0.0
    for run in runs:
        left = deadline - time.perf_counter()
        if longest > left:
            print(f"left out: {run.contender}, seed {run.seed}: {left:.0f} s left", flush=True)
            continue
        begin = time.perf_counter()
        train(run, data, path)
        longest = max(longest, time.perf_counter() - begin)


def _images(arguments: argparse.Namespace) -> Any:
    from examples.data import load_cifar10

    data = load_cifar10(arguments.data)
    if not arguments.rehearse:
        return data.first(IMAGES)  # raises if there are fewer
    part = {"x_test": data.x_test[:500], "y_test": data.y_test[:500]}
    return dataclasses.replace(data.first(REHEARSED["images"]), **part)


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__)
    add = parser.add_argument
    records = Path(os.environ.get("OUT") or report.RESULTS) / "gpu_accuracy.jsonl"
    add("--data", type=Path, help="CIFAR-10, .npz or the tar.gz; default: download")
    add("--contenders", choices=CONTENDERS, nargs="+", default=list(DEFAULT))
    add("--network", default="wrn-16-8", help="a network of examples/recipes.py for CIFAR-10")
    add("--epochs", type=int, default=15, help="of each training")
    add("--seeds", type=int, nargs="+", default=[0])
    add("--until", type=float, default=math.inf, help="seconds: no run begins that would end later")
    add("--records", type=Path, default=records, help="epochs, one a line; else in $OUT")
    add("--tables", action="store_true", help="train nothing, write the tables")
    add("--rehearse", action="store_true", help="a tiny network, few images: on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    main()
