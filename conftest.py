"""All tests share a quiet, small TensorFlow, names for the doctests, and a seed."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_SPARSE_TUNING"] = "shipped"  # whatever was measured on this machine
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # without it some CPUs lack dense operations
if "PYTEST_XDIST_WORKER" in os.environ:  # one process per core
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # where there is a GPU, all processes share it
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# on JAX: tests compile the same small operations, again and again, which takes most of their time
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / "build/jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import gc

import keras
import numpy as np
import pytest

import keras_sparse
from keras_sparse.compute import tuned


def pytest_collection_modifyitems(items):
    """Slow tests come first: the last of them would keep one process busy while the other waits."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not look through TensorFlow each time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # tracing makes many objects that stay: 5 % of the time


@pytest.fixture(autouse=True, scope="session")
def shipped_table():
    """The same break-even densities on all processors, for tests of all that reads them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuned, "instructions", lambda: frozenset({"avx512f"}))
        yield


@pytest.fixture(autouse=True)
def fresh_keras(request):
    """Every test, and every doctest, starts from the same seeds and the same layer names."""
    if (numbers := getattr(request.module, "RNG", None)) is not None:
        numbers.bit_generator.state = np.random.default_rng(0).bit_generator.state
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def names_of_doctests(doctest_namespace):
    """Docstrings use these without importing them."""
    doctest_namespace.update(keras=keras, ks=keras_sparse, np=np)
