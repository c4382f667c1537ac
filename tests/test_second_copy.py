"""Of copies of the compiled ops in a process, as those of exported models, the first one counts."""

import shutil

import pytest
from forked import Program
from oracle import needs_ops

from keras_sparse.compute import library

pytestmark = needs_ops

LOAD = """
import sys
import keras
import numpy as np
import tensorflow as tf
for copy in sys.argv[2:]:
    tf.load_op_library(copy)
"""
TRAIN = """
model = keras.Sequential([keras.Input((16, 16, 32)), keras.layers.Conv2D(64, 3)])
model.add(keras.layers.BatchNormalization())
model = ks.sparsify(model, implementation=sys.argv[1], verbose=False)
model.compile(ks.StaticSparsity(keras.optimizers.SGD(0.1), density=0.1), "mse")
inputs = np.random.default_rng(0).standard_normal((8, 16, 16, 32), "float32")
model.fit(inputs, np.ones((8, 14, 14, 64)), verbose=0)
assert np.isfinite(model.predict(inputs, verbose=0)).all()
print(ks.ops.available())
"""
IMPORT = "import keras_sparse as ks"


@pytest.fixture
def copies(tmp_path):
    """Two files like the compiled library."""
    return [shutil.copy(library.library_path(), tmp_path / name) for name in ("one.so", "two.so")]


def test_copies_beside_keras_sparse_change_nothing(copies):
    ended = Program(IMPORT + LOAD + TRAIN, "custom_op", *copies).wait()
    assert ended.returncode == 0, ended.stderr


def test_a_copy_that_came_first_is_why_keras_sparse_runs_stock_operations(copies):
    ended = Program(LOAD + IMPORT + TRAIN, "auto", *copies).wait()
    assert ended.returncode == 0, ended.stderr
    assert library.ANOTHER_COPY in ended.stdout
