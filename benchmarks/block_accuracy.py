"""How much accuracy do masks made of blocks cost, at equal density?

    python -m benchmarks.block_accuracy --network mnist --data mnist.npz      # 1024-512-512-10, 11 runs a seed
    python -m benchmarks.block_accuracy --network cifar --data cifar10.npz    # six 3x3 convolutions, 64 to 256 channels, 13 runs a seed

All masks of a network start with the same number of active weights in each layer: whole blocks of 64x64 channels, as many as come
nearest to the density. First convolution and classifier stay dense. Each finished run is a line of a ``.jsonl`` file beside the table,
and is not repeated; the table is of the longest trainings in it.
"""

import argparse
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import report
from benchmarks.accuracy_networks import BATCH, DECAY_EVERY, TRAINING_EXAMPLES, WEIGHT_DECAY
from benchmarks.records import add, read
from examples.batches import Batches
from examples.data import load, load_cifar10
from keras_sparse.rules.density import Shape, largest_remainder
from keras_sparse.rules.structure import BlockShape

UNIT = 64  # channels on a side of the largest block
SHAPES: dict[str, BlockShape] = {
    "single weights": None,
    "all taps, 1x1": (1, 1),
    "vectors, 1x8": (1, 8),
    "blocks, 16x16": (16, 16),
    "blocks, 32x32": (32, 32),
    "blocks, 64x64": (64, 64),
}
DENSITIES = (0.25, 0.1, 0.05)
EPOCHS = {"mnist": 10, "cifar": 5}
TITLES = {
    "mnist": "MNIST, 1024-512-512-10",
    "cifar": "CIFAR-10, convolutions 64-128-128-256-256-256-256",
}
CIFAR_IMAGES = 20_000  # to train with; the test is all 10,000
CONVOLUTIONS = (
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (256, 2),
    (256, 1),
)  # channels and stride of those with masks
COMMAND = "python -m benchmarks.block_accuracy --network mnist --data mnist.npz; python -m benchmarks.block_accuracy --network cifar --data cifar10.npz"
NOTE = (
    'Mean ± standard error of the test error after the last epoch. "more" is what a mask adds to the error of single weights with as many\n'
    'active weights, seed by seed; "new" the share of active weights at the end that were missing at the start; "dead" the share of the\n'
    "channels of masked layers without an active weight in, or out. Seconds are of one core that had other work, too.\n\n"
    "The convolutions are grids of 2, 4, 8, 16, 16 and 16 blocks of 64x64. At 9.7 % one of each is active, and stays: a small dense network.\n"
    "One seed says nothing of differences within a point.\n"
)


class Run(NamedTuple):
    """One training."""

    network: str
    mask: str  # "dense" or a key of SHAPES
    density: float
    epochs: int
    seed: int


def main() -> None:
    """Makes the runs that are missing, then prints and writes the tables."""
    arguments = _arguments()
    records = arguments.output.with_suffix(".jsonl")
    runs = planned(
        arguments.network,
        arguments.epochs or EPOCHS[arguments.network],
        range(arguments.seeds),
        arguments.densities,
    )
    missing = [run for run in runs if run not in map(run_of, read(records))]
    parts = images_of(arguments.network, arguments.data) if missing else []
    for run in missing:
        result = train(run, parts)
        add(records, result)
        print(
            {key: result[key] for key in (*Run._fields, "test_error", "active", "new", "seconds")},
            flush=True,
        )
    known = read(records)
    text = report.header("Test error by the shape of masks", COMMAND, known[-1]["measured"]) + NOTE
    text += "".join(section(network, known) for network in TITLES)
    print(text)
    report.write(arguments.output, text)


def planned(
    network: str, epochs: int, seeds: Sequence[int], densities: Sequence[float]
) -> list[Run]:
    """The runs of one network, seed by seed, so that a benchmark that is stopped has a bit of everything."""
    masks = [
        name for name, shape in SHAPES.items() if shape != (1, 1) or network == "cifar"
    ]  # a dense layer has one tap
    kinds = [("dense", 1.0), *((mask, density) for density in densities for mask in masks)]
    return [Run(network, mask, density, epochs, seed) for seed in seeds for mask, density in kinds]


def run_of(record: dict[str, Any]) -> Run:
    """The run that a record is of."""
    return Run(*(record[key] for key in Run._fields))


def whole_blocks(shapes: Sequence[Shape], density: float) -> list[int]:
    """Active weights per layer in whole blocks of 64x64 channels, at least one a layer: a start that masks of every shape can have.

    >>> whole_blocks([(128, 64), (512, 512)], 0.1)  # of 2 and 64 blocks: 1 and 6
    [4096, 24576]
    """
    blocks = np.array([shape[-2] * shape[-1] // UNIT**2 for shape in shapes])
    total = max(round(density * int(blocks.sum())), len(blocks))
    counts = 1 + largest_remainder(
        np.maximum(density * blocks - 1, 0.0), total - len(blocks), blocks - 1
    )
    return [
        int(count) * math.prod(shape) * UNIT**2 // (shape[-2] * shape[-1])
        for count, shape in zip(counts, shapes, strict=True)
    ]


def images_of(network: str, data: Path) -> list[np.ndarray]:
    """Images and labels to train with, images and labels to test with; MNIST's with a margin of zeros, 32x32."""
    found: Any = load(data) if network == "mnist" else load_cifar10(data)
    n = TRAINING_EXAMPLES if network == "mnist" else CIFAR_IMAGES
    images = [found.x_train[:n], found.x_test]
    if network == "mnist":
        images = [np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))) for x in images]
    return [images[0], found.y_train[:n], images[1], found.y_test]


def mnist_model() -> keras.Model:
    """1024-512-512-10: 128 and 64 blocks, and a dense classifier."""
    options = {"kernel_regularizer": keras.regularizers.L2(WEIGHT_DECAY / 2)}
    hidden = [keras.layers.Dense(512, "relu", **options) for _ in range(2)]
    return keras.Sequential(
        [
            keras.Input((32, 32, 1)),
            keras.layers.Flatten(),
            *hidden,
            keras.layers.Dense(10, name="classifier", **options),
        ]
    )


def cifar_model() -> keras.Model:
    """A dense first convolution, six with masks of 2, 4, 8, 16, 16 and 16 blocks, and a dense classifier."""
    layers: list[Any] = [keras.Input((32, 32, 3))]
    for i, (channels, stride) in enumerate(((64, 2), *CONVOLUTIONS)):
        name = f"convolution_{i}" if i else "first"
        layers.append(
            keras.layers.Conv2D(
                channels,
                3,
                stride,
                "same",
                use_bias=False,
                kernel_initializer="he_normal",
                name=name,
            )
        )
        layers += [keras.layers.BatchNormalization(momentum=0.9), keras.layers.ReLU()]
    return keras.Sequential(
        [*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10, name="classifier")]
    )


def compiled(run: Run, steps: int) -> keras.Model:
    """The network of a run, ready to train for so many steps."""
    keras.utils.set_random_seed(run.seed)
    model = mnist_model() if run.network == "mnist" else cifar_model()
    decays = [round(DECAY_EVERY * steps), round(2 * DECAY_EVERY * steps)]
    steep = keras.optimizers.schedules.PiecewiseConstantDecay(decays, [0.1, 0.01, 0.001])
    rate = steep if run.network == "mnist" else keras.optimizers.schedules.CosineDecay(0.1, steps)
    optimizer: Any = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    if run.mask != "dense":
        model = ks.sparsify(model)
        dense = [layer.name for layer in model.layers if layer.name in ("first", "classifier")]
        optimizer = ks.SparseMomentum(
            optimizer,
            run.density,
            distribution=whole_blocks,
            dense=dense,
            block_shape=SHAPES[run.mask],
            seed=run.seed,
        )
    model.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    optimizer.build(model.trainable_variables)
    return model


def train(run: Run, parts: Sequence[np.ndarray]) -> dict[str, Any]:
    """Trains and returns the run's settings with its error in per cent, its masks in figures and its seconds."""
    x, y, x_test, y_test = parts
    model = compiled(run, run.epochs * (len(y) // BATCH))
    first = (
        {}
        if run.mask == "dense"
        else {path: np.array(mask) for path, mask in model.optimizer.masks.items()}
    )
    callbacks = [ks.UpdateMasks()] if first else []
    begin = time.perf_counter()
    if run.network == "mnist":
        history = model.fit(x, y, BATCH, run.epochs, verbose=0, callbacks=callbacks)
    else:
        history = model.fit(
            Batches(x, y, BATCH, run.seed), epochs=run.epochs, verbose=0, callbacks=callbacks
        )
    seconds = time.perf_counter() - begin
    errors = {
        "test_error": 100 * (1 - model.evaluate(x_test, y_test, 500, verbose=0)[1]),
        "training_error": 100 * (1 - history.history["accuracy"][-1]),
    }
    figures = {key: round(value, 4) for key, value in {**errors, "seconds": seconds}.items()}
    keras.utils.clear_session(free_memory=False)
    return {
        **run._asdict(),
        **figures,
        **(
            mask_figures(first, model.optimizer.masks)
            if first
            else {"active": 1.0, "new": 0.0, "dead": 0.0, "densities": {}}
        ),
    }


def mask_figures(first: dict[str, np.ndarray], last: dict[str, np.ndarray]) -> dict[str, Any]:
    """Of the masks at the start and at the end, by path."""
    total, active = (
        sum(mask.size for mask in last.values()),
        sum(int(np.count_nonzero(mask)) for mask in last.values()),
    )
    new = sum(int(np.count_nonzero(mask & ~first[path])) for path, mask in last.items())
    planes = [mask.reshape(-1, *mask.shape[-2:]).any(axis=0) for mask in last.values()]
    alive = np.concatenate([plane.any(axis=axis) for plane in planes for axis in (0, 1)])
    densities = {path: round(float(mask.mean()), 4) for path, mask in last.items()}
    return {
        "active": round(active / total, 4),
        "new": round(new / active, 4),
        "dead": round(1 - float(alive.mean()), 4),
        "densities": densities,
    }


def section(network: str, known: Sequence[dict[str, Any]]) -> str:
    """The table of one network, for its longest training."""
    own = [record for record in known if record["network"] == network]
    if not own:
        return ""
    epochs = max(record["epochs"] for record in own)
    rows = []
    for mask, density in [
        ("dense", 1.0),
        *((mask, density) for density in DENSITIES for mask in SHAPES),
    ]:
        found = {
            run.seed: record
            for record in own
            if (run := run_of(record))[1:4] == (mask, density, epochs)
        }
        single = {
            run.seed: record
            for record in own
            if (run := run_of(record))[1:4] == ("single weights", density, epochs)
        }
        if found:
            rows.append((mask, *_figures(list(found.values())), _more(found, single)))
    columns = (
        "mask",
        "active %",
        "test error %",
        "training error %",
        "seeds",
        "new %",
        "dead %",
        "seconds a run",
        "more",
    )
    return f"\n## {TITLES[network]}, {epochs} epochs\n\n{report.table(columns, rows)}"


def _figures(found: Sequence[dict[str, Any]]) -> tuple[object, ...]:
    errors = [
        report.mean_and_error([record[key] for record in found])
        for key in ("test_error", "training_error")
    ]
    shares = {
        key: f"{100 * mean(record[key] for record in found):.1f}"
        for key in ("active", "new", "dead")
    }
    return (
        shares["active"],
        *errors,
        len(found),
        shares["new"],
        shares["dead"],
        f"{mean(record['seconds'] for record in found):.0f}",
    )


def _more(found: dict[int, dict[str, Any]], single: dict[int, dict[str, Any]]) -> str:
    differences = [
        found[seed]["test_error"] - single[seed]["test_error"] for seed in found if seed in single
    ]
    return report.mean_and_error(differences) if differences and found != single else ""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=tuple(TITLES), default="mnist")
    parser.add_argument(
        "--data",
        type=Path,
        help="MNIST or CIFAR-10 as .npz in the layout of keras.datasets; default: keras.datasets",
    )
    parser.add_argument("--epochs", type=int, help=f"default: {EPOCHS}")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--densities",
        type=float,
        nargs="*",
        default=DENSITIES[:2],
        help="0.05 is too sparse for the convolutions' blocks of 64x64",
    )
    parser.add_argument("--output", type=Path, default=report.RESULTS / "block_accuracy.md")
    return parser.parse_args()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
