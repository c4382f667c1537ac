"""Trains a network of the sparse momentum paper by its recipe, dense and sparse, and compares.

    # LeNet-300-100 on MNIST, dense and at 5 % density, three seeds
    python examples/train.py lenet-300-100 --density 0.05 --seeds 3
    # a wide ResNet on CIFAR-10 in a tenth of the paper's epochs; the learning rate falls as early
    python examples/train.py wrn-16-8 --method SparseMomentum RigL --density 0.05 --epochs 25
    # a trained network becomes sparse: the first command keeps it, the second one prunes it
    python examples/train.py vgg16-d --method dense --save
    python examples/train.py vgg16-d --method GradualPruning --epochs 40 --from runs/.../model.keras

Networks: {networks}.
A training that was killed continues with the same command, and finished ones are not repeated.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from examples.recipes import METHODS, NETWORKS, recipe

FINE_TUNING = 0.1  # share of the recipe's learning rate with which a trained network trains on


def main(words: Sequence[str] | None = None) -> None:
    """Trains what has not been trained yet, and prints the table.

    Args:
        words: of the command line; None: those of this process.
    """
    arguments = _arguments(words)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments.backend:
        os.environ["KERAS_BACKEND"] = arguments.backend  # before Keras is imported
    import keras
    from rich.console import Console

    from examples import run_records, runs

    keras.config.set_dtype_policy(arguments.precision)
    records = arguments.output / "results.jsonl"
    wanted = planned(arguments, keras.backend.backend(), sparse_kernels(arguments))
    missing = [run for run in wanted if not any(map(run.is_of, run_records.read(records)))]
    print(f"{len(wanted) - len(missing)} of {len(wanted)} trainings are in {records}.")
    source = _source(arguments) if missing else None
    for run in missing:
        result = runs.train(run, source, arguments.output, arguments.save)
        run_records.add(records, result)
        keras.utils.clear_session()
    known = run_records.read(records)
    found = [record for record in known if any(run.is_of(record) for run in wanted)]
    Console(width=None if sys.stdout.isatty() else 100).print(run_records.table(found))


def planned(arguments: argparse.Namespace, backend: str, kernels: bool) -> list[Any]:
    """All runs, seed by seed, so that a comparison that is stopped has some of each."""
    from examples.runs import Run

    how = recipe(arguments.model)
    rate = how.learning_rate * (FINE_TUNING if arguments.start else 1)
    common = {
        "model": arguments.model,
        "epochs": arguments.epochs or how.epochs,
        "batch": arguments.batch or how.batch,
        "learning_rate": arguments.learning_rate or rate,
        "precision": arguments.precision,
        "backend": backend,
        "images": arguments.images,
        "start": arguments.start and str(arguments.start),
    }
    dense = {"initial_scale": None, "growth_window": "auto", "sparse_kernels": False}
    sparse = {
        "initial_scale": "auto" if arguments.initial_scale else None,
        "growth_window": arguments.growth_window,
        "sparse_kernels": kernels,
    }
    runs = []
    for seed in range(arguments.seeds):
        for method in arguments.method:
            varied = {"method": method, "seed": seed, **(dense if method == "dense" else sparse)}
            densities = [1.0] if method == "dense" else arguments.density
            runs += [Run(density=density, **varied, **common) for density in densities]
    return list(dict.fromkeys(runs))


def sparse_kernels(arguments: argparse.Namespace) -> bool:
    """Whether layers skip missing weights: as asked for, else where they can."""
    import keras

    import keras_sparse as ks

    why_not = None
    if keras.backend.backend() != "tensorflow":
        why_not = f"the backend is {keras.backend.backend()}, not tensorflow"
    elif not ks.ops.available():
        why_not = ks.ops.available().reason
    if arguments.sparse_kernels and why_not:
        raise SystemExit(f"`--sparse-kernels` cannot work: {why_not}")
    return why_not is None if arguments.sparse_kernels is None else arguments.sparse_kernels


def _source(arguments: argparse.Namespace) -> Any:
    """The images; of ImageNet, the folder."""
    from examples import feeds

    if recipe(arguments.model).data == "imagenet":
        return arguments.data  # may be remote
    file = arguments.data and Path(arguments.data)
    images = feeds.load_images(arguments.model, file)
    print(f"Data: {images.source}")
    return images


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    description = __doc__.format(networks=", ".join(NETWORKS))
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form)
    add = parser.add_argument
    add("model", type=_network, help="the name of a network")
    add("--method", nargs="+", choices=("dense", *METHODS), default=["dense", "SparseMomentum"])
    add("--density", nargs="+", type=_share, default=[0.1], help="active / all weights; 0.1")
    add("--epochs", type=_count, help="default: the recipe's, which keeps its proportions")
    add("--seeds", type=_count, default=1, help="trainings of each, with seeds 0, 1, ...")
    add("--learning-rate", type=float, help="default: the recipe's; a tenth of it with --from")
    add("--batch", type=_count, help="images in a batch; default: the recipe's")
    add("--from", dest="start", type=_file, help=".keras file of a dense trained network")
    add("--data", help="file of the data set; ImageNet: folder of TFRecords")
    add("--images", type=_count, help="number of images to train and validate with, from the first")
    add("--backend", choices=("tensorflow", "jax", "torch"), help="default: Keras' own setting")
    add("--precision", choices=("float32", "mixed_bfloat16", "mixed_float16"), default="float32")
    add("--sparse-kernels", action=argparse.BooleanOptionalAction, help="default: where they work")
    add("--initial-scale", action="store_true", help="scale weights to their active connections")
    add("--growth-window", type=_window, default="auto", help="steps before an update, or auto")
    add("--output", type=Path, default=Path("runs"), help="folder of results, logs and backups")
    add("--save", action="store_true", help="keep each network, and a page report.html")
    arguments = parser.parse_args(words)
    if recipe(arguments.model).data == "imagenet":
        if arguments.data is None:
            parser.error("resnet-50 needs --data: a folder of TFRecords, train-* and validation-*")
    elif arguments.data and not Path(arguments.data).is_file():
        parser.error(f"--data must be a file. Received: {arguments.data}")
    return arguments


def _network(name: str) -> str:
    try:
        recipe(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name


def _file(name: str) -> Path:
    if not Path(name).is_file():
        raise argparse.ArgumentTypeError(f"must be a file. Received: {name}")
    return Path(name)


def _share(text: str) -> float:
    if not 0 < float(text) <= 1:
        raise argparse.ArgumentTypeError(f"must be in (0, 1]. Received: {text}")
    return float(text)


def _count(text: str) -> int:
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more. Received: {text}")
    return int(text)


def _window(text: str) -> int | str:
    return text if text == "auto" else _count(text)


if __name__ == "__main__":
    main()
