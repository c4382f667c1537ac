"""Times cases that two_versions.py names on standard input, with the keras_sparse of PYTHONPATH.

The networks are written out here: the old checkout may have no networks.py, or another one.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_sparse as ks

DENSITY, BATCH = 0.05, 128
LEAST_SECONDS = 0.1  # of a turn


def main(threads: int) -> None:
    """Answers each line that names a case with the seconds of one call."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    made: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        case = line.strip()
        if case == "end":
            return
        if case not in made:
            keras.utils.set_random_seed(0)
            made[case] = MAKERS[case]()
            made[case]()
        print(_seconds(made[case]), flush=True)


def _seconds(call: Callable[[], object]) -> float:
    calls, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < LEAST_SECONDS:
        call()
        calls += 1
    return (time.perf_counter() - begin) / calls


def vgg11_step() -> Callable[[], object]:
    """A training step of VGG11 with batch normalization on images of CIFAR-10's size."""
    body: list[Any] = []
    for channels in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512):
        if channels == 0:
            body.append(keras.layers.MaxPooling2D())
            continue
        body.append(keras.layers.Conv2D(channels, 3, padding="same", use_bias=False))
        body += [keras.layers.BatchNormalization(), keras.layers.ReLU()]
    body += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(10)]
    return _step(keras.Sequential([keras.Input((32, 32, 3)), *body]))


def mlp_step() -> Callable[[], object]:
    """A training step of three dense layers of 2,048 units."""
    body = [keras.layers.Dense(2048, "relu") for _ in range(3)]
    return _step(keras.Sequential([keras.Input((1024,)), *body, keras.layers.Dense(10)]))


def _step(dense: keras.Model) -> Callable[[], object]:
    model = ks.sparsify(dense, verbose=False)
    optimizer = ks.StaticSparsity(keras.optimizers.SGD(1e-3, momentum=0.9), DENSITY, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, jit_compile=False)
    x = np.random.default_rng(0).normal(size=(BATCH, *model.input_shape[1:])).astype("float32")
    y = np.zeros(BATCH, "int32")
    return lambda: model.train_on_batch(x, y)


def convolution() -> Callable[[], object]:
    """A 3x3 convolution of 256 channels and its gradients, in a graph."""
    inputs = tf.random.normal((BATCH, 8, 8, 256))
    kernel, mask = _masked((3, 3, 256, 256))
    return _with_gradients(ks.ops.sparse_conv2d, inputs, kernel, mask, {"padding": "same"})


def matrix_product() -> Callable[[], object]:
    """A product with a 2048x2048 matrix and its gradients, in a graph."""
    kernel, mask = _masked((2048, 2048))
    inputs = tf.random.normal((BATCH, 2048))
    return _with_gradients(ks.ops.sparse_matmul, inputs, kernel, mask, {})


def _with_gradients(
    operation: Any, inputs: Any, kernel: Any, mask: Any, settings: dict[str, Any]
) -> Callable[[], object]:
    chosen = {"implementation": "custom_op", "dense_weight_gradient": False, **settings}

    @tf.function
    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = operation(inputs, kernel, mask, **chosen)
        return tape.gradient(outputs, [inputs, kernel])

    return run


def eager_layer() -> Callable[[], object]:
    """A prediction of a sparse layer of 256 channels, eagerly."""
    layer = ks.layers.SparseConv2D(256, 3, padding="same")
    inputs = tf.random.normal((8, 8, 8, 256))
    layer(inputs)
    _, mask = _masked((3, 3, 256, 256))
    layer.set_mask(mask.numpy())
    return lambda: layer(inputs)


def _masked(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A random kernel of this shape with its mask."""
    rng = np.random.default_rng(0)
    mask = rng.random(shape) < DENSITY
    kernel = rng.normal(size=shape).astype("float32") * mask
    return tf.constant(kernel), tf.constant(mask)


MAKERS = {
    "VGG11 step": vgg11_step,
    "MLP step": mlp_step,
    "convolution": convolution,
    "matrix product": matrix_product,
    "layer, eager": eager_layer,
}


if __name__ == "__main__":
    main(int(sys.argv[1]))
