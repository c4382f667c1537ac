"""Loads MNIST and CIFAR-10 from a file or Keras' download, or small digits of scikit-learn."""

import dataclasses
import os
import pickle
import socket
import tarfile
import threading
import urllib.request
from pathlib import Path

import keras
import numpy as np

# the address of keras.datasets.mnist
URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
PATIENCE = 5.0  # seconds
MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's training images, in [0, 1]
SMALL = (
    "the 1,797 digits of 8x8 that scikit-learn ships, enlarged to 28x28, as MNIST cannot be "
    "downloaded here (--data FILE reads it)"
)
TEST_DIGITS = 360  # of scikit-learn's 1,797

CIFAR10_MEAN, CIFAR10_DEVIATION = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)  # by channel

# Images and labels to train and to test with.
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Images:
    """Normalised float32 images (n, height, width, channels) and int32 labels (n,)."""

    source: str  # in words
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def first(self, count: int) -> "Images":
        """The same with the first training images only."""
        if not 1 <= count <= len(self.y_train):
            allowed = f"in 1 to {len(self.y_train)}"
            raise ValueError(f"`count` must be {allowed}. Received: count={count}")
        part = {"x_train": self.x_train[:count], "y_train": self.y_train[:count]}
        return dataclasses.replace(self, **part)


def load(file: Path | None = None) -> Images:
    """MNIST from this file, from Keras' cache or download, or scikit-learn's small digits."""
    if file is not None:
        return _normalised(f"MNIST from {file}", _from_file(file))
    cached = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets" / "mnist.npz"
    if cached.exists():  # read here: Keras deletes a file that is not its own copy, and downloads
        return _normalised(f"MNIST from {cached}", _from_file(cached))
    if _is_reachable():
        try:
            return _normalised("MNIST from keras.datasets", _from_keras())
        except Exception as error:  # Keras raises a bare Exception when a download fails
            print(f"keras.datasets.mnist could not be loaded: {error}")
    return _normalised(SMALL, _small())


def _from_file(file: Path) -> Arrays:
    with np.load(file) as arrays:
        missing = {"x_train", "y_train", "x_test", "y_test"} - set(arrays.files)
        if missing:
            raise ValueError(
                "`file` must have the arrays of keras.datasets: x_train, y_train, x_test, y_test. "
                f"Received: {file} without {sorted(missing)}"
            )
        return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]


def _from_keras() -> Arrays:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # Keras would wait for ever on a download that stalls
    try:
        (x_train, y_train), (x_test, y_test) = keras.datasets.mnist.load_data()
    finally:
        socket.setdefaulttimeout(before)
    return x_train, y_train, x_test, y_test


def _is_reachable() -> bool:
    """Whether the server answers at once; in a thread, as a look-up may hang without a network."""
    answered: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(URL, method="HEAD"), timeout=PATIENCE
            ):
                answered.append(True)
        except OSError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return bool(answered)


def _small() -> Arrays:
    """scikit-learn's digits in MNIST's form: each pixel 3x3, a margin of two, values to 255."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            "MNIST was not found: pass a file with --data, or install scikit-learn for its small "
            "digits (pip install scikit-learn)."
        ) from error
    digits = load_digits()
    images = np.kron(digits.images * (255 / 16), np.ones((1, 3, 3)))
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    # Neighbours are by the same writer: without a shuffle, the test would have other writers.
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:TEST_DIGITS], order[TEST_DIGITS:]
    return images[train], digits.target[train], images[test], digits.target[test]


def _normalised(source: str, arrays: Arrays) -> Images:
    x_train, y_train, x_test, y_test = arrays
    x = [((x / 255 - MEAN) / DEVIATION).astype("float32")[..., None] for x in (x_train, x_test)]
    return Images(source, x[0], y_train.astype("int32"), x[1], y_test.astype("int32"))


def load_cifar10(file: Path | str | None = None) -> Images:
    """CIFAR-10 from this file, else from keras.datasets.

    A file is the tar.gz of its "python version", or an .npz in the layout of MNIST's.
    """
    if file is None:
        (x_train, y_train), (x_test, y_test) = keras.datasets.cifar10.load_data()
        arrays = x_train, y_train, x_test, y_test
    else:
        file = Path(file)
        arrays = _from_file(file) if file.suffix == ".npz" else _from_tar(file)
    x_train, y_train, x_test, y_test = arrays
    labels = [y.reshape(-1).astype("int32") for y in (y_train, y_test)]
    source = f"CIFAR-10 from {file or 'keras.datasets'}"
    return Images(source, _coloured(x_train), labels[0], _coloured(x_test), labels[1])


def _coloured(images: np.ndarray) -> np.ndarray:
    """In place where it can: there are 600 MB of training images."""
    normalised = images.astype("float32")
    normalised /= 255
    normalised -= np.float32(CIFAR10_MEAN)
    normalised /= np.float32(CIFAR10_DEVIATION)
    return normalised


def _from_tar(file: Path) -> Arrays:
    """Reads with pickle: open only a file that you trust.

    One is https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz.
    """
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    with tarfile.open(file) as archive:
        batches = [
            pickle.load(archive.extractfile(f"cifar-10-batches-py/{name}"), encoding="bytes")
            for name in names
        ]
    images = [batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for batch in batches]
    labels = [np.array(batch[b"labels"]) for batch in batches]
    return np.concatenate(images[:-1]), np.concatenate(labels[:-1]), images[-1], labels[-1]
