"""Cases for the ops, with results of kernel * mask from stock operations and NumPy's doubles."""

import shutil
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

import keras_sparse as ks

# Without a compiler there are no ops to test; with one their absence is a failure.
needs_ops = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow"
    or (not ks.ops.available() and not any(map(shutil.which, ("g++", "clang++", "c++")))),
    reason=f"the compiled ops are {ks.ops.available()}",
)


class Case(NamedTuple):
    inputs: Any  # (batch, height, width, channels), or (..., in)
    kernel: Any
    mask: Any
    options: dict[str, Any]  # strides and padding of a convolution

    def __str__(self):
        shapes = ["x".join(map(str, array.shape)) for array in (self.inputs, self.kernel)]
        return ",".join([*shapes, *(f"{name}={value}" for name, value in self.options.items())])

    def run(self, inputs, kernel, wanted, implementation):
        if implementation == "oracle":
            product = keras.ops.matmul if self.is_matmul else keras.ops.conv
            return product(inputs, kernel, **self.options)
        product = ks.ops.sparse_matmul if self.is_matmul else ks.ops.sparse_conv2d
        return product(
            inputs,
            kernel,
            self.mask,
            dense_weight_gradient=wanted,
            implementation=implementation,
            **self.options,
        )

    @property
    def is_matmul(self):
        return len(self.kernel.shape) == 2

    def by_numpy(self):
        """[outputs, gradient by inputs, gradient by kernel], as ``results`` gives; batch first."""
        kernel = np.where(self.mask, self.kernel, 0).astype("float64")
        if self.is_matmul:
            outputs = self.inputs.astype("float64") @ kernel
            weights, leading = weights_of(outputs), range(self.inputs.ndim - 1)
            return (
                outputs,
                weights @ kernel.T,
                np.tensordot(self.inputs, weights, (leading, leading)) * self.mask,
            )
        return self._conv_by_numpy(kernel)

    def _conv_by_numpy(self, kernel):
        strides, same = self.options.get("strides", 1), self.options.get("padding") == "same"
        strides = (strides, strides) if isinstance(strides, int) else strides
        sizes, taps = self.inputs.shape[1:3], kernel.shape[:2]
        outs = [
            -(-size // stride) if same else (size - tap) // stride + 1
            for size, tap, stride in zip(sizes, taps, strides, strict=True)
        ]
        pads = [
            max(0, (o - 1) * s + t - size) * same
            for o, s, t, size in zip(outs, strides, taps, sizes, strict=True)
        ]
        before = [pad // 2 for pad in pads]
        padded = np.pad(
            self.inputs.astype("float64"),
            [(0, 0), *((b, p - b) for b, p in zip(before, pads, strict=True)), (0, 0)],
        )

        def window(array, y, x):
            return array[
                :,
                y : y + (outs[0] - 1) * strides[0] + 1 : strides[0],
                x : x + (outs[1] - 1) * strides[1] + 1 : strides[1],
            ]

        places = list(np.ndindex(*taps))
        outputs = sum(window(padded, y, x) @ kernel[y, x] for y, x in places)
        weights, by_inputs, by_kernel = (
            weights_of(outputs),
            np.zeros_like(padded),
            np.zeros_like(kernel),
        )
        for y, x in places:
            window(by_inputs, y, x)[...] += weights @ kernel[y, x].T
            by_kernel[y, x] = np.einsum("nhwi,nhwo->io", window(padded, y, x), weights)
        by_inputs = by_inputs[:, before[0] : before[0] + sizes[0], before[1] : before[1] + sizes[1]]
        return outputs, by_inputs, by_kernel * self.mask


def random_case(inputs, kernel, density, seed=0, **options):
    rng = np.random.default_rng(seed)
    mask = rng.random(kernel) < density
    return Case(
        rng.normal(size=inputs).astype("f"), rng.normal(size=kernel).astype("f"), mask, options
    )


def weights_of(outputs):
    """How the outputs are summed up for the gradients: each with a weight of its own."""
    count = max(1, int(np.prod(outputs.shape)))
    return np.cos(np.arange(int(np.prod(outputs.shape))) * (7.0 / count)).reshape(outputs.shape)


def results(case, wanted, implementation):
    """[outputs, gradient by inputs, gradient by kernel]."""
    import tensorflow as tf

    inputs, kernel = tf.convert_to_tensor(case.inputs), tf.convert_to_tensor(case.kernel)
    with tf.GradientTape() as tape:
        tape.watch((inputs, kernel))
        used = kernel * tf.cast(case.mask, kernel.dtype) if implementation == "oracle" else kernel
        tape.watch(used)
        outputs = case.run(inputs, used, wanted, implementation)
        count = tf.maximum(1, tf.size(outputs))
        angles = tf.range(tf.size(outputs), dtype=tf.float64) * (7.0 / tf.cast(count, tf.float64))
        loss = tf.reduce_sum(
            outputs * tf.reshape(tf.cast(tf.cos(angles), outputs.dtype), tf.shape(outputs))
        )
    by_inputs, by_kernel, by_used = tape.gradient(loss, (inputs, kernel, used))
    return [outputs, by_inputs, by_used if implementation == "oracle" and wanted else by_kernel]


def assert_close(these, those, tolerance=1e-5):
    """Equal up to this much of the largest value."""
    assert len(these) == len(those)
    for one, other in zip(these, those, strict=True):
        assert tuple(one.shape) == tuple(other.shape)
        scale = max(1.0, float(np.abs(other).max(initial=0)))
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale)


class Counter:
    """Counts how often it is called: in the body of a tf.function, how often that is traced."""

    def __init__(self):
        self.count = 0

    def __call__(self):
        self.count += 1


def conv(inputs=(2, 9, 8, 5), kernel=(3, 3, 5, 6), density=0.3, **options):
    """A random case of ``sparse_conv2d``."""
    return random_case(inputs, kernel, density, **options)


def dense(inputs=(3, 20), kernel=(20, 33), density=0.3, **options):
    """A random case of ``sparse_matmul``."""
    return random_case(inputs, kernel, density, **options)
