"""The compiled ops are loaded before TensorFlow collects what XLA can lower."""

import pytest
from forked import Program
from oracle import needs_ops

PROGRAM = """
import numpy as np, tensorflow as tf, keras, keras_sparse as ks
{before}
inputs, kernel = np.ones((2, 3), "float32"), np.ones((3, 4), "float32")
def multiplied():
    return ks.ops.sparse_matmul(inputs, kernel, kernel > 0, implementation="custom_op")

product = tf.function(multiplied, jit_compile=True, autograph=False)
print(product().numpy().sum())
"""


@needs_ops
@pytest.mark.parametrize(
    "before",
    [
        "tf.function(tf.identity)(0.0)",
        "keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])",
    ],
)
def test_ops_compile_with_xla_after_tensorflow_has_run_functions(before):
    ended = Program(PROGRAM.format(before=before)).wait()
    assert ended.stdout.strip() == "24.0", ended.stderr[-2000:]
