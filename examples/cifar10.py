"""Trains a wide ResNet on CIFAR-10, dense and sparse, and compares accuracy and speed.

    # a first impression, a minute or two on two cores
    python examples/cifar10.py --epochs 1 --subset 5000
    # the accuracy of a whole training
    python examples/cifar10.py --depth 16 --width 2 --epochs 30 --density 0.1 --sparse-kernels

Both networks start from the same initial weights. ``--sparse-kernels`` trains a third one, whose
layers skip the missing weights. CIFAR-10 comes from ``--data`` or from keras.datasets, which
downloads it.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also when this is imported as `examples.cifar10`
from data import ColourImages, load_cifar10
from models import wide_resnet

import keras_sparse as ks

MARGIN = 4  # pixels by which images are moved at most
CIFAR10_IMAGES = 50_000  # to train with


@dataclasses.dataclass(frozen=True)
class Result:
    """What is compared at the end."""

    name: str
    accuracy: float
    density: float
    seconds: float
    steps: int


class Batches(keras.utils.PyDataset):
    """Shuffled training batches of images that are moved by up to four pixels, and every other mirrored."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, batch: int, seed: int) -> None:
        super().__init__()
        self.images = np.pad(images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0)), mode="reflect")
        self.labels, self.batch, self.rng = labels, batch, np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.labels) // self.batch

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self.order[index * self.batch : (index + 1) * self.batch]
        return np.stack([self._moved(self.images[i]) for i in chosen]), self.labels[chosen]

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(len(self.labels))

    def _moved(self, image: np.ndarray) -> np.ndarray:
        top, left = self.rng.integers(0, 2 * MARGIN + 1, 2)
        size = len(image) - 2 * MARGIN
        return image[top : top + size, left : left + size][:, :: self.rng.choice((-1, 1))]


def main() -> None:
    """Trains each variant and prints the comparison."""
    arguments = _arguments()
    images = load_cifar10(arguments.data)
    if arguments.subset:
        images = dataclasses.replace(images, x_train=images.x_train[: arguments.subset], y_train=images.y_train[: arguments.subset])

    variants = ("dense", "sparse momentum", "sparse momentum, sparse kernels")[: 3 if arguments.sparse_kernels else 2]
    results = [train(name, images, arguments) for name in variants]
    Console(width=None if sys.stdout.isatty() else 120).print(results_table(results))


def build(name: str, steps: int, arguments: argparse.Namespace) -> keras.Model:
    """The network of this variant, ready to train for so many steps."""
    keras.utils.set_random_seed(arguments.seed)
    model = wide_resnet(arguments.depth, arguments.width)
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(arguments.learning_rate, steps), momentum=0.9, nesterov=True)
    if name.endswith("sparse kernels"):
        model = ks.sparsify(model)
    if name != "dense":  # the gradient of missing weights is only needed in the last 100 steps before the masks change
        optimizer = ks.SparseMomentum(optimizer, density=arguments.density, growth_window=100, seed=arguments.seed)
    # On a CPU TensorFlow's own convolutions are faster than XLA's.
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"], jit_compile=False)
    return model


def train_model() -> keras.Model:
    """The sparse network with sparse kernels, compiled with all defaults: for whoever wants to look at it, or compile it for another device."""
    arguments = _arguments([])
    return build("sparse momentum, sparse kernels", arguments.epochs * (CIFAR10_IMAGES // arguments.batch), arguments)


def train(name: str, images: ColourImages, arguments: argparse.Namespace) -> Result:
    """Fits a new model; its time is that of `fit`, without the evaluation."""
    print(f"--- {name}")
    batches = Batches(images.x_train, images.y_train, arguments.batch, arguments.seed)
    model = build(name, arguments.epochs * len(batches), arguments)
    callbacks = [] if name == "dense" else [ks.UpdateMasks(every=arguments.every)]
    begin = time.perf_counter()
    model.fit(batches, epochs=arguments.epochs, verbose=1 if sys.stdout.isatty() else 2, callbacks=callbacks)
    seconds = time.perf_counter() - begin
    accuracy = float(model.evaluate(images.x_test, images.y_test, batch_size=500, verbose=0)[1])
    density = model.optimizer.total_density() if callbacks else 1.0
    return Result(name, accuracy, density, seconds, arguments.epochs * len(batches))


def results_table(results: list[Result]) -> Table:
    """The comparison, a row a variant."""
    table = Table(title="Wide ResNet on CIFAR-10")
    table.add_column("variant")
    for column in ("test accuracy", "density", "seconds", "ms a step", "speed-up"):
        table.add_column(column, justify="right")
    for result in results:
        times = (f"{result.seconds:.0f}", f"{1000 * result.seconds / result.steps:.0f}", f"{results[0].seconds / result.seconds:.2f}")
        table.add_row(result.name, f"{result.accuracy:.2%}", f"{result.density:.4f}", *times)
    return table


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """From these words; None: from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=10, help="6 n + 4")
    parser.add_argument("--width", type=int, default=2)
    parser.add_argument("--density", type=float, default=0.1, help="active / all weights, in (0, 1]")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--every", type=int, help="steps between mask updates; default: an epoch")
    parser.add_argument("--subset", type=int, help="train on so many images")
    parser.add_argument("--sparse-kernels", action="store_true", help="train once more with layers that skip missing weights")
    parser.add_argument("--data", type=Path, help="cifar-10-python.tar.gz, or .npz with x_train, y_train, x_test, y_test; default: keras.datasets")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


if __name__ == "__main__":
    main()
