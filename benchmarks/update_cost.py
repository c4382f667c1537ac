"""Measures the time and the memory of one mask update."""

import statistics
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import keras_sparse as ks
from benchmarks.networks import Shape, resnet_50_kernels

DENSITY, PRUNE_RATE = 0.1, 0.5  # the paper's first update prunes most
REPEATS = 5


def numpy_update() -> tuple[int, float, int]:
    """ResNet-50's kernels as arrays: weights, CPU seconds, bytes allocated at the peak."""
    layers = random_layers(resnet_50_kernels())
    return sum(layer.mask.size for layer in layers), *_measure(lambda: _update(layers))


def optimizer_update() -> tuple[int, float, int]:
    """ResNet-50's kernels as TensorFlow variables of a SparseMomentum optimizer, likewise."""
    import keras

    rng = np.random.default_rng(0)
    shapes = resnet_50_kernels()
    sgd = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = ks.SparseMomentum(sgd, DENSITY, prune_rate=PRUNE_RATE)
    noise = [rng.standard_normal(shape, dtype=np.float32) for shape in shapes]
    optimizer.build([keras.Variable(values, name="kernel") for values in noise])
    for momentum, shape in zip(optimizer.inner_optimizer.momentums, shapes, strict=True):
        momentum.assign(rng.standard_normal(shape, dtype=np.float32))
    return sum(values.size for values in noise), *_measure(optimizer.update_masks)


def cost_per_weight(weights: int) -> float:
    """CPU seconds that an update of ten equal layers takes for each of their weights."""
    layers = random_layers([(weights // 100, 10)] * 10)
    return _seconds(lambda: _update(layers)) / weights


def random_layers(shapes: Sequence[Shape]) -> list[ks.MaskedLayer]:
    """Masked layers with random weights and momenta."""
    rng = np.random.default_rng(0)
    layers = []
    for i, shape in enumerate(shapes):
        mask = rng.random(shape, dtype=np.float32) < DENSITY
        weight, momentum = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
        layers.append(ks.MaskedLayer(f"layer_{i}", weight * mask, mask, momentum))
    return layers


def _update(layers: Sequence[ks.MaskedLayer]) -> list[np.ndarray]:
    scores = ks.scores
    rules = (scores.magnitude, scores.mean_momentum, scores.momentum)
    return ks.mask_update.update_masks(layers, PRUNE_RATE, *rules, np.random.default_rng(0))


def _measure(update: Callable[[], Any]) -> tuple[float, int]:
    return _seconds(update), _peak_bytes(update)


def _seconds(update: Callable[[], Any]) -> float:
    """CPU seconds, the median of some repeats after one to warm up."""
    seconds = []
    for _ in range(1 + REPEATS):
        begin = time.process_time()
        update()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds[1:])


def _peak_bytes(update: Callable[[], Any]) -> int:
    """Most bytes that Python and NumPy hold in the update, less what they held before."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    update()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before
