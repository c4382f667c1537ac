"""Trains one network dense, sparse, and sparse with kernels that skip missing weights.

    python examples/demo.py     # or: make demo; under three minutes on two cores

The data are the 1,797 handwritten digits of 8x8 pixels that scikit-learn ships. A table at the end
compares accuracy, density, time and size. All of it is measured in this run.
"""

import argparse
import dataclasses
import io
import os
import statistics
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # errors only
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # dense steps with oneDNN on every processor

sys.path.insert(0, str(Path(__file__).resolve().parent))  # also when this is imported
from quiet import hidden_messages

with hidden_messages():
    import keras
    import numpy as np
    import tensorflow as tf
    from rich.console import Console
    from rich.table import Table
    from sklearn.datasets import load_digits

    import keras_sparse as ks

    tf.config.set_visible_devices([], "GPU")  # the kernels compared are those for CPUs

BATCH = 64  # 23 steps an epoch
LEARNING_RATE = 0.1
TEST_IMAGES = 360
# Missing weights get gradients in the last steps before an update. The default is 50 steps for a
# momentum of 0.9. Here masks change every 23 steps, so that window would never close and every
# step would compute dense gradients.
GROWTH_WINDOW = 5

Make = Callable[[int], keras.Model]  # from the channels of its convolutions


@dataclasses.dataclass(frozen=True)
class Digits:
    """Images (n, 8, 8, 1) in [0, 1] and labels (n,), to train and to test with."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


@dataclasses.dataclass(frozen=True)
class Result:
    """A row of the table."""

    name: str
    accuracy: float
    density: float
    seconds: float  # an epoch
    kilobytes: float


def main() -> None:
    """Trains the three networks, prints the table and what follows from it."""
    arguments = _arguments()
    begin = time.perf_counter()
    digits = load()
    networks = {"dense": build, "sparse": build}
    if ks.ops.available():
        networks["sparse, with kernels"] = lambda width: ks.sparsify(build(width))
    results = [train(name, make, digits, arguments) for name, make in networks.items()]
    Console().print(table(results))
    print(conclusion(results, len(digits.y_test)))
    if not ks.ops.available():
        reason = ks.ops.available().reason
        print(f"There are no sparse kernels here, so sparse training saves no time: {reason}")
    print(f"{time.perf_counter() - begin:.0f} seconds in all.")


def load() -> Digits:
    """scikit-learn's digits; shuffled, because neighbours are by the same writer."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = digits.images[order, ..., None].astype("float32") / 16
    labels = digits.target[order]
    test, train = slice(None, TEST_IMAGES), slice(TEST_IMAGES, None)
    return Digits(images[train], labels[train], images[test], labels[test])


def build(width: int) -> keras.Sequential:
    """Five convolutions with batch normalization, all at 8x8 pixels."""
    model = keras.Sequential([keras.Input((8, 8, 1))], name="digits")
    for channels in (width // 2, width, width, width, width):
        model.add(keras.layers.Conv2D(channels, 3, padding="same", use_bias=False))
        # `sparsify` would put it in for BatchNormalization. All networks have it here, so that
        # only the kernels differ.
        model.add(ks.layers.FusedBatchNormalization(momentum=0.9))
        model.add(keras.layers.ReLU())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(10))
    return model


def train(name: str, make: Make, digits: Digits, arguments: argparse.Namespace) -> Result:
    """Trains a network from the seed's initial weights, with masks unless it is to be dense."""
    print(f"\n{name}")
    keras.utils.set_random_seed(arguments.seed)
    model = make(arguments.width)
    steps = arguments.epochs * -(-len(digits.y_train) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    callbacks = [EpochSeconds()]
    if name != "dense":
        optimizer = ks.SparseMomentum(optimizer, arguments.density, growth_window=GROWTH_WINDOW)
        callbacks.append(ks.UpdateMasks(every="epoch"))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)  # XLA is slower on CPUs
    bar = 1 if sys.stdout.isatty() else 2  # in a log, a line an epoch
    model.fit(digits.x_train, digits.y_train, BATCH, arguments.epochs, bar, callbacks)
    accuracy = model.evaluate(digits.x_test, digits.y_test, verbose=0)[1]
    density = 1.0 if name == "dense" else optimizer.total_density()
    return Result(name, accuracy, density, callbacks[0].median(), zipped_kilobytes(model))


class EpochSeconds(keras.callbacks.Callback):
    """The time of each epoch."""

    def on_train_begin(self, logs: object = None) -> None:
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.begin = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        self.seconds.append(time.perf_counter() - self.begin)

    def median(self) -> float:
        """Without the first epoch, in which TensorFlow traces its graphs."""
        return statistics.median(self.seconds[1:])


def zipped_kilobytes(model: keras.Model) -> float:
    """Size of the weights in a file of Keras' layers, without optimizer and masks, after zip."""
    packed = io.BytesIO()
    with TemporaryDirectory() as folder:
        file = Path(folder) / "digits.weights.h5"
        ks.densify(model).save_weights(file)
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(file, file.name)
    return len(packed.getvalue()) / 1000


def table(results: list[Result]) -> Table:
    """The comparison, a row a network."""
    comparison = Table(title="Dense, sparse, and sparse with kernels")
    comparison.add_column("network")
    for column in ("test\naccuracy", "density", "seconds\nan epoch", "zipped\nweights"):
        comparison.add_column(column, justify="right")
    for row in results:
        costs = (f"{row.seconds:.2f}", f"{row.kilobytes:,.0f} kB")
        comparison.add_row(row.name, f"{row.accuracy:.2%}", f"{row.density:.3f}", *costs)
    return comparison


def conclusion(results: list[Result], test_images: int) -> str:
    """What the table says, and how far it can be trusted."""
    dense, last = results[0], results[-1]
    return (
        "Seconds are medians without the first epoch, in which TensorFlow traces its graphs.\n"
        f"Measured just now: {last.name}, an epoch takes {last.seconds / dense.seconds:.2f} of the "
        f"dense time ({dense.seconds / last.seconds:.1f}x as fast), and the zipped weights take "
        f"{last.kilobytes / dense.kilobytes:.2f} of the dense size.\n"
        f"Test accuracy differs by {100 * (last.accuracy - dense.accuracy):+.2f} points; one of "
        f"the {test_images} test images is {100 / test_images:.2f} points."
    )


def _arguments() -> argparse.Namespace:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--epochs", type=int, default=15, help="two or more")
    parser.add_argument("--density", type=float, default=0.05, help="active / all weights")
    parser.add_argument("--width", type=int, default=128, help="channels of the convolutions")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
