"""Compiles, steps and tests a classifier: what the benchmarks of whole networks share."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import keras_sparse as ks

BATCH = 500  # when it is tested


def compiled(model: keras.Model, optimizer: Any, **options: Any) -> keras.Model:
    """The model, compiled with cross-entropy of logits and the accuracy.

    Without XLA unless the options say so: on a CPU TensorFlow's own convolutions are faster.
    """
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"metrics": ["accuracy"], "jit_compile": False, **options}
    model.compile(optimizer, loss, **options)
    return model


def test_error(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """In %."""
    return 100 * (1 - float(model.evaluate(images, labels, BATCH, verbose=0)[1]))


def with_kernels(model: keras.Model) -> list[Any]:
    """The layers that have a kernel."""
    return [layer for layer in model.layers if hasattr(layer, "kernel")]


def with_fused_normalization(model: keras.Model) -> keras.Model:
    """A dense copy with the batch normalization that `ks.sparsify` puts in."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        is_norm = type(layer) is keras.layers.BatchNormalization
        kind = ks.layers.FusedBatchNormalization if is_norm else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


def stepper(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> Callable[[], None]:
    """A function that makes one step of `fit` on this batch, and waits for it."""
    is_sparse = isinstance(model.optimizer, ks.SparseMomentum)
    model.optimizer.build(model if is_sparse else model.trainable_variables)
    function = model.make_train_function() or model.train_function
    dataset = tf.data.Dataset.from_tensors((images, labels)).cache().repeat()
    # An iterator whose pipeline TensorFlow tunes may wait for a minute when it is deleted.
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    batches = iter(dataset.with_options(untuned))

    def step() -> None:
        for value in function(batches).values():
            float(value)

    return step


def noise(shape: tuple[int, ...], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch of random images of this shape, and labels of ten classes."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, *shape), dtype=np.float32)
    return images, rng.integers(0, 10, batch).astype("int32")
