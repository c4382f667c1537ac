"""What else differs on a GPU: XLA compiles sparse layers, and float32 is rounded to 11 bits."""

import numpy as np
import pytest
from oracle import needs_ops

import keras_sparse as ks
from keras_sparse.compute import gpu_kernels, masked_gradient, sparse_layer
from keras_sparse.exporting.checks import tolerance_for

pytestmark = [needs_ops]


def test_xla_compiles_sparse_layers_on_a_gpu_and_not_on_a_cpu(monkeypatch):
    assert not ks.layers.SparseDense(64).supports_jit
    monkeypatch.setattr(sparse_layer, "has_gpu", lambda: True)
    assert ks.layers.SparseDense(64).supports_jit


@pytest.mark.parametrize("wanted", [True, False])
def test_the_masked_gradient_has_no_condition_on_a_gpu(monkeypatch, wanted):
    import tensorflow as tf

    monkeypatch.setattr(masked_gradient, "has_gpu", lambda: True)
    kernel, mask = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([True, False, True])
    is_dense = tf.Variable(wanted)

    @tf.function
    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(5.0 * masked_gradient.with_masked_gradient(kernel, mask, is_dense))
        return tape.gradient(loss, kernel)

    np.testing.assert_array_equal(gradient(), [5.0, 5.0 * wanted, 5.0])
    operations = gradient.get_concrete_function().graph.get_operations()
    assert not any("If" in one.type for one in operations)


@pytest.mark.parametrize(("allows_tf32", "tolerance"), [(True, 1e-2), (False, 1e-4)])
def test_an_export_allows_what_a_gpu_rounds(monkeypatch, allows_tf32, tolerance):
    monkeypatch.setattr(gpu_kernels, "has_gpu", lambda: True)
    monkeypatch.setattr(gpu_kernels, "_allows_tf32", lambda: allows_tf32)
    assert tolerance_for("float32", computes_in_16_bits=False) == tolerance
    assert tolerance_for("float16", computes_in_16_bits=False) == 1e-2
    assert tolerance_for("int8", computes_in_16_bits=False) == 0.05
