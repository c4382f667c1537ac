"""Measures a mask update per weight, part by part, and the size of masks in checkpoints.

Times are CPU seconds, the least of several turns: other work on the machine can only add.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import report  # noqa: F401  # puts the repository on the path
from networks import Shape
from scaling_model import HostCosts
from turns import take_turns

import keras_sparse as ks

DENSITY, PRUNE_RATE = 0.1, 0.5
TURNS = 5
PARTS = ("read", "score", "select", "write")  # of an update


def transformer_shapes(weights: int, cut: int | None = None) -> list[Shape]:
    """Kernels of a transformer of about so many weights, as deep as such networks are.

    Args:
        weights: of the whole network.
        cut: only as many of its blocks as have about so many weights; None: all.
    """
    blocks = max(1, round((weights / 49_152) ** (1 / 3)))  # a width of 64 times the depth
    width = round((weights / (12 * blocks)) ** 0.5)
    shown = blocks if cut is None else max(1, round(cut / (12 * width**2)))
    return [*[(width, width)] * 4, (width, 4 * width), (4 * width, width)] * shown


def sparse_optimizer(shapes: Sequence[Shape]) -> Any:
    """A SparseMomentum over variables of these shapes, with noise for weights and momenta."""
    import keras

    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(rng.standard_normal(shape, dtype=np.float32), name="kernel")
        for shape in shapes
    ]
    optimizer = ks.SparseMomentum(
        keras.optimizers.SGD(0.1, momentum=0.9), DENSITY, prune_rate=PRUNE_RATE
    )
    optimizer.build(variables)
    for momentum, shape in zip(optimizer.inner_optimizer.momentums, shapes, strict=True):
        momentum.assign(rng.standard_normal(shape, dtype=np.float32))
    return optimizer


def measure(shapes: Sequence[Shape]) -> HostCosts:
    """Seconds a weight of an update of these kernels, and of its parts, all in turns."""
    optimizer = sparse_optimizer(shapes)
    layers = layers_of(optimizer)
    size = sum(layer.mask.size for layer in layers)
    masks = [layer.mask for layer in layers]
    packed = [np.packbits(mask) for mask in masks]
    parts: dict[str, Callable[[], object]] = {
        "read": lambda: read(optimizer),
        "score": lambda: [score(layer) for layer in layers],
        "select": selection(layers),
        "write": lambda: optimizer.assign_masks(masks),
        "pack": lambda: [np.packbits(mask) for mask in masks],
        "unpack": lambda: [
            unpack(bits, mask.shape) for bits, mask in zip(packed, masks, strict=True)
        ],
        "rest": optimizer.update_masks,
    }
    seconds = {
        name: min(times) / size
        for name, times in take_turns(parts, TURNS, time.process_time).items()
    }
    seconds["rest"] -= sum(seconds[name] for name in PARTS)
    return HostCosts(**seconds)


def layers_of(optimizer: Any) -> list[ks.MaskedLayer]:
    """The optimizer's layers as arrays in memory, so that reading them costs nothing any more."""
    weights, masks = optimizer.masked_variables, optimizer.masks.values()
    momenta = (ks.momentum_of(optimizer.inner_optimizer, i) for i in optimizer.masked_indices)
    return [
        ks.MaskedLayer(v.path, v.numpy(), m, b)
        for v, m, b in zip(weights, masks, momenta, strict=True)
    ]


def read(optimizer: Any) -> None:
    """Copies what an update copies: it goes through all layers three times, so that it need not keep them."""
    for i, weight, mask in zip(
        optimizer.masked_indices, optimizer.masked_variables, optimizer.mask_variables, strict=True
    ):
        mask.numpy(), ks.momentum_of(optimizer.inner_optimizer, i)  # how many, and the share
        mask.numpy(), weight.numpy()  # prune
        mask.numpy(), ks.momentum_of(optimizer.inner_optimizer, i)  # grow


def score(layer: ks.MaskedLayer) -> None:
    """What is computed of all weights: counts, share, both scores, and whether there is a NaN in them."""
    rng = np.random.default_rng(0)
    np.count_nonzero(layer.mask), ks.scores.mean_momentum(layer)
    ks.scores.magnitude(layer, rng).max(), ks.scores.momentum(layer, rng).max()


def selection(layers: Sequence[ks.MaskedLayer]) -> Callable[[], None]:
    """The choice of what stays and what grows, in every layer as many as were pruned; scores are made beforehand."""
    scores = [(layer.mask, np.abs(layer.weight), np.abs(layer.momentum)) for layer in layers]

    def select() -> None:
        for mask, magnitude, momentum in scores:
            active = int(np.count_nonzero(mask))
            pruned = int(PRUNE_RATE * active)
            kept = ks.mask_update.top_k_mask(magnitude, active - pruned, mask)
            kept |= ks.mask_update.top_k_mask(momentum, pruned, ~kept)

    return select


def unpack(bits: np.ndarray, shape: Shape) -> np.ndarray:
    """A mask from its bits."""
    return np.unpackbits(bits, count=int(np.prod(shape))).view(bool).reshape(shape)


def checkpoint_bytes(width: int = 1000) -> dict[str, float]:
    """Bytes a weight that masks add to a checkpoint, and what the rest takes: a kernel of width x width and its momentum."""
    files = {
        name: _saved_bytes(width, is_sparse)
        for name, is_sparse in (("dense", False), ("sparse", True))
    }
    return {
        f"{kind}, {name}": files[name][kind] / width**2 for kind in files["dense"] for name in files
    }


def _saved_bytes(width: int, is_sparse: bool) -> dict[str, int]:
    import keras
    import tensorflow as tf

    model = keras.Sequential([keras.Input((width,)), keras.layers.Dense(width)])
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    model.compile(ks.SparseMomentum(optimizer, DENSITY) if is_sparse else optimizer, "mse")
    model.optimizer.build(model if is_sparse else model.trainable_variables)
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        keras_bytes = os.path.getsize(f"{folder}/model.keras")
        tf.train.Checkpoint(model=model, optimizer=model.optimizer).write(f"{folder}/checkpoint")
        return {
            ".keras": keras_bytes,
            "tf.train.Checkpoint": sum(
                path.stat().st_size for path in Path(folder).glob("checkpoint*")
            ),
        }


def cpu_seconds(call: Callable[[], object], repeats: int = TURNS) -> float:
    """CPU seconds of one call, the least of some after one to warm up."""
    seconds = []
    for _ in range(1 + repeats):
        begin = time.process_time()
        call()
        seconds.append(time.process_time() - begin)
    return min(seconds[1:])
