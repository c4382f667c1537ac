"""How do sparse LeNets compare with dense ones on MNIST?

    python examples/mnist.py                                    # both models, under two minutes on two cores
    python examples/mnist.py --model lenet-300-100 --density 0.05 --epochs 20 --data mnist.npz

Trains each model dense and with sparse momentum, shows what became sparse, saves, exports and loads it back. Without MNIST
it uses the small digits that scikit-learn ships. What it writes is in the folder ``--output``.
"""

import argparse
import dataclasses
import math
import sys
import time
from pathlib import Path

import keras
from data import Digits, load
from models import MODELS, build
from rich.console import Console
from rich.table import Table
from saving import save_and_check

import keras_sparse as ks

VALIDATION = 0.1  # of the training images
WIDTH = 120  # columns of text where there is no terminal to ask


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: SGD with Nesterov momentum 0.9 and a learning rate that falls to 0 along a cosine."""

    epochs: int
    batch: int
    learning_rate: float


MNIST = Recipe(epochs=4, batch=100, learning_rate=0.05)
SMALL = Recipe(epochs=15, batch=32, learning_rate=0.02)  # 1/42 of MNIST's images: smaller batches, or masks change every few steps


@dataclasses.dataclass(frozen=True)
class Result:
    """What is compared at the end."""

    model: str
    dense_accuracy: float
    sparse_accuracy: float
    density: float
    multiply_adds_dense: int
    multiply_adds_sparse: int
    seconds: float


def main() -> None:
    """Trains, compares, and writes everything into the output folder."""
    arguments = _arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    digits = load(arguments.data)
    recipe = MNIST if digits.is_mnist else SMALL
    recipe = dataclasses.replace(recipe, epochs=arguments.epochs or recipe.epochs)
    print(f"Data: {digits.source}\n{len(digits.x_train)} images to train, {len(digits.x_test)} to test; {recipe.epochs} epochs in batches of {recipe.batch}")
    chosen = MODELS if arguments.model == "both" else (arguments.model,)
    results = [compare(name, digits, recipe, arguments.density, arguments.seed, arguments.output) for name in chosen]
    _console().print(results_table(results))


def compare(name: str, digits: Digits, recipe: Recipe, density: float, seed: int, output: Path) -> Result:
    """One model, dense and sparse, from the same initial weights."""
    begin = time.perf_counter()
    steps = recipe.epochs * math.ceil((1 - VALIDATION) * len(digits.x_train) / recipe.batch)
    heading(f"{name}, dense")
    dense = compiled(name, sgd(recipe, steps), seed)
    dense_accuracy = fit(dense, digits, recipe, [])

    heading(f"{name}, {density:.1%} of the weights")
    sparse = compiled(name, ks.SparseMomentum(sgd(recipe, steps), density=density, seed=seed), seed)
    sparse.optimizer.build(sparse)  # `fit` would do it; so there is something to see before
    ks.summary(sparse)
    update_masks = ks.UpdateMasks()
    sparse_accuracy = fit(sparse, digits, recipe, [update_masks])
    ks.summary(sparse)
    print(f"wrote {ks.plot_history(update_masks, output / f'{sparse.name}_density.png')}")
    save_and_check(sparse, digits.x_test, output)

    total = ks.summary(sparse, "dict")["total"]
    figures = (total["density"], total["multiply_adds_dense"], total["multiply_adds_sparse"])
    return Result(name, dense_accuracy, sparse_accuracy, *figures, time.perf_counter() - begin)


def sgd(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, for a training of so many steps."""
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)


def compiled(name: str, optimizer: keras.optimizers.Optimizer, seed: int) -> keras.Model:
    """A new model; the same seed gives the same initial weights."""
    keras.utils.set_random_seed(seed)
    model = build(name)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # TensorFlow's own convolutions are faster on a CPU than XLA's.
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return model


def fit(model: keras.Model, digits: Digits, recipe: Recipe, callbacks: list[keras.callbacks.Callback]) -> float:
    """Trains; returns the accuracy on the test images in [0, 1]."""
    verbose = 1 if sys.stdout.isatty() else 2  # a bar on a terminal, a line an epoch in a log
    images, labels = digits.x_train, digits.y_train
    model.fit(images, labels, recipe.batch, recipe.epochs, verbose, callbacks, validation_split=VALIDATION)
    return float(model.evaluate(digits.x_test, digits.y_test, batch_size=1000, verbose=0)[1])


def results_table(results: list[Result]) -> Table:
    """The comparison, a row a model."""
    table = Table(title="Dense against sparse momentum")
    table.add_column("model")
    for column in ("accuracy\ndense", "accuracy\nsparse", "density", "multiply-adds\ndense", "multiply-adds\nsparse", "seconds"):
        table.add_column(column, justify="right")
    for result in results:
        accuracies = (f"{result.dense_accuracy:.2%}", f"{result.sparse_accuracy:.2%}")
        costs = (f"{result.multiply_adds_dense:,}", f"{result.multiply_adds_sparse:,}")
        table.add_row(result.model, *accuracies, f"{result.density:.4f}", *costs, f"{result.seconds:.0f}")
    return table


def heading(text: str) -> None:
    """A line across the screen with a title."""
    _console().rule(text)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("both", *MODELS), default="both")
    parser.add_argument("--data", type=Path, help="MNIST in the layout of keras.datasets (mnist.npz); default: what can be had")
    parser.add_argument("--epochs", type=int, help=f"default: {MNIST.epochs}, or {SMALL.epochs} with the small digits")
    parser.add_argument("--density", type=float, default=0.1, help="active / all weights, in (0, 1]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for plots and models")
    return parser.parse_args()


if __name__ == "__main__":
    main()
