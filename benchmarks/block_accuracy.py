"""Measures the test error with masks of blocks, at equal density.

    # 1024-512-512-10, 11 runs a seed
    python -m benchmarks.block_accuracy --network mnist --data mnist.npz
    # six 3x3 convolutions of 64 to 256 channels, 13 runs a seed
    python -m benchmarks.block_accuracy --network cifar --data cifar10.npz
    # the same convolutions with small blocks, which CPUs gain from, 15 runs a seed
    python -m benchmarks.block_accuracy --network cifar-small --data cifar10.npz --epochs 10

Large masks of a network start with the same number of active weights in each layer: whole blocks of
64x64 channels, in the number nearest to the density. Small ones start with the same density in each
layer. First convolution and classifier stay dense.
Each finished run is a line of a ``.jsonl`` file beside the table, and is not repeated. The table is
of the longest trainings in it.
"""

import argparse
import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import keras_sparse as ks
from benchmarks import block_tables, classifier, options, records, report
from benchmarks.accuracy_networks import BATCH, DECAY_EVERY, TRAINING_EXAMPLES, WEIGHT_DECAY
from benchmarks.block_tables import DENSITIES, STRUCTURES, TITLES
from benchmarks.networks import conv8
from examples.batches import Batches
from examples.data import load, load_cifar10
from keras_sparse.rules.density import Shape
from keras_sparse.rules.exact_counts import largest_remainder

UNIT = 64  # channels on a side of the largest block
EPOCHS = {"mnist": 10, "cifar": 5, "cifar-small": 10}
CIFAR_IMAGES = 20_000  # to train with; the test is all 10,000


@dataclasses.dataclass(frozen=True)
class Run:
    """One training."""

    network: str
    mask: str  # "dense" or a key of STRUCTURES[network]
    density: float
    epochs: int
    seed: int


def main() -> None:
    """Makes the runs that are missing, then prints and writes the tables."""
    arguments = _arguments()
    path = arguments.output.with_suffix(".jsonl")
    runs = planned(arguments)
    parts = images_of(arguments.network, arguments.data) if records.missing(runs, path) else []
    known = records.complete(path, runs, lambda run: train(run, parts))
    text = block_tables.text_of(known)
    report.publish(arguments.output, text)


def planned(arguments: argparse.Namespace) -> list[Run]:
    """The runs of one network, seed by seed, so that a part of them has some of each."""
    network, epochs = arguments.network, arguments.epochs or EPOCHS[arguments.network]
    # A dense layer has one tap.
    has_taps = network != "mnist"
    masks = [name for name in STRUCTURES[network] if has_taps or name != "all taps, 1x1"]
    kinds = [("dense", 1.0), *((mask, each) for each in arguments.densities for mask in masks)]
    kinds = [kind for kind in kinds if kind[0] in (arguments.masks or ["dense", *masks])]
    seeds = range(arguments.seeds)
    return [Run(network, mask, density, epochs, seed) for seed in seeds for mask, density in kinds]


def whole_blocks(shapes: Sequence[Shape], density: float) -> list[int]:
    """Active weights of each layer in whole blocks of 64x64 channels, at least one a layer.

    Masks of every shape can start with them.

    >>> whole_blocks([(128, 64), (512, 512)], 0.1)  # of 2 and 64 blocks: 1 and 6
    [4096, 24576]
    """
    sizes = [math.prod(shape) * UNIT**2 // (shape[-2] * shape[-1]) for shape in shapes]
    blocks = np.array([shape[-2] * shape[-1] // UNIT**2 for shape in shapes])
    more = max(round(density * int(blocks.sum())), len(blocks)) - len(blocks)
    counts = 1 + largest_remainder(np.maximum(density * blocks - 1, 0.0), more, blocks - 1)
    return [int(count) * size for count, size in zip(counts, sizes, strict=True)]


def images_of(network: str, data: Path) -> list[np.ndarray]:
    """Images and labels to train and to test with; MNIST's 32x32, with a margin of zeros."""
    found: Any = load(data) if network == "mnist" else load_cifar10(data)
    n = TRAINING_EXAMPLES if network == "mnist" else CIFAR_IMAGES
    images = [found.x_train[:n], found.x_test]
    if network == "mnist":
        images = [np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))) for x in images]
    return [images[0], found.y_train[:n], images[1], found.y_test]


def mnist_model() -> keras.Model:
    """1024-512-512-10: 128 and 64 blocks, and a dense classifier."""
    penalty = {"kernel_regularizer": keras.regularizers.L2(WEIGHT_DECAY / 2)}
    hidden = [keras.layers.Dense(512, "relu", **penalty) for _ in range(2)]
    head = keras.layers.Dense(10, name="classifier", **penalty)
    inputs = [keras.Input((32, 32, 1)), keras.layers.Flatten()]
    return keras.Sequential([*inputs, *hidden, head])


def compiled(run: Run, steps: int) -> keras.Model:
    """The network of a run, ready to train for this number of steps."""
    keras.utils.set_random_seed(run.seed)
    model = mnist_model() if run.network == "mnist" else conv8()
    schedules = keras.optimizers.schedules
    decays = [round(DECAY_EVERY * steps), round(2 * DECAY_EVERY * steps)]
    rate: Any = schedules.CosineDecay(0.1, steps)
    if run.network == "mnist":
        rate = schedules.PiecewiseConstantDecay(decays, [0.1, 0.01, 0.001])
    optimizer: Any = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    if run.mask != "dense":
        model = ks.sparsify(model)
        dense = [layer.name for layer in model.layers if layer.name in ("first", "classifier")]
        distribution = "uniform" if run.network == "cifar-small" else whole_blocks
        settings: Any = {"distribution": distribution, "dense": dense, "seed": run.seed}
        structure = STRUCTURES[run.network][run.mask]
        optimizer = ks.SparseMomentum(optimizer, run.density, structure=structure, **settings)
    classifier.compiled(model, optimizer)
    optimizer.build(model.trainable_variables)
    return model


def train(run: Run, parts: Sequence[np.ndarray]) -> dict[str, Any]:
    """Trains; the errors in %, the masks in figures and the seconds."""
    x, y, x_test, y_test = parts
    model = compiled(run, run.epochs * (len(y) // BATCH))
    is_dense = run.mask == "dense"
    first = {} if is_dense else {k: np.array(mask) for k, mask in model.optimizer.masks.items()}
    settings: Any = {"verbose": 0, "callbacks": [] if is_dense else [ks.UpdateMasks()]}
    begin = time.perf_counter()
    if run.network == "mnist":
        history = model.fit(x, y, BATCH, run.epochs, **settings).history
    else:
        history = model.fit(Batches(x, y, BATCH, run.seed), epochs=run.epochs, **settings).history
    figures = {
        "test_error": classifier.test_error(model, x_test, y_test),
        "training_error": 100 * (1 - history["accuracy"][-1]),
        "seconds": time.perf_counter() - begin,
    }
    masks = {"active": 1.0, "new": 0.0, "dead": 0.0, "densities": {}}
    if not is_dense:
        masks = mask_figures(first, model.optimizer.masks)
    keras.utils.clear_session(free_memory=False)
    return {**{key: round(value, 4) for key, value in figures.items()}, **masks}


def mask_figures(first: dict[str, np.ndarray], last: dict[str, np.ndarray]) -> dict[str, Any]:
    """What changed between the masks at the start and those at the end, by path."""
    total = sum(mask.size for mask in last.values())
    active = sum(int(np.count_nonzero(mask)) for mask in last.values())
    new = sum(int(np.count_nonzero(mask & ~first[path])) for path, mask in last.items())
    planes = [mask.reshape(-1, *mask.shape[-2:]).any(axis=0) for mask in last.values()]
    alive = np.concatenate([plane.any(axis=axis) for plane in planes for axis in (0, 1)])
    shares = {"active": active / total, "new": new / active, "dead": 1 - float(alive.mean())}
    densities = {path: round(float(mask.mean()), 4) for path, mask in last.items()}
    return {**{key: round(value, 4) for key, value in shares.items()}, "densities": densities}


def _arguments() -> argparse.Namespace:
    parser = options.parser(__doc__, "block_accuracy.md")
    add = parser.add_argument
    sparse = "0.05 is too sparse for the convolutions' blocks of 64x64"
    add("--network", choices=tuple(TITLES), default="mnist")
    add("--data", type=Path, help="MNIST or CIFAR-10 as .npz; default: keras.datasets")
    add("--epochs", type=int, help=f"default: {EPOCHS}")
    add("--seeds", type=int, default=3)
    add("--masks", nargs="*", metavar="MASK", help="only these; default: dense and all masks")
    add("--densities", type=float, nargs="*", default=DENSITIES[:2], help=sparse)
    return parser.parse_args()


if __name__ == "__main__":
    main()
