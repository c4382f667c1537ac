"""Four processes decide masks in three ways: each by itself, one for all, or shared by layer.

Each process stands for a host. All have the same weights and momenta, as replicas do, and form a
ring of pipes; NumPy only. The program compares their masks and times them.
"""

import hashlib
import multiprocessing
import pickle
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import report  # noqa: F401  # puts the repository on the path
from scaling_constants import PRUNE_RATE, TURNS, cpu_seconds, transformer_shapes, unpack
from update_cost import random_layers

import keras_sparse as ks
from keras_sparse.rules.budget import Counts, grow_counts, prune_counts

WORKERS = 4  # an even number: in a ring every other one sends first
Masks = list[np.ndarray]
Layers = Sequence[ks.MaskedLayer]


@dataclass(frozen=True)
class Work:
    """What one worker did in one of the ways."""

    cpu: float  # seconds
    begin: float  # on a clock that all workers share
    end: float
    sent: int  # bytes
    masks: str  # a hash of them


@dataclass
class Ring:
    """A worker's place, and its pipes from the worker before it and to the one after it."""

    rank: int
    before: Connection
    after: Connection
    sent: int = 0

    def send(self, message: bytes) -> None:
        self.sent += len(message)
        self.after.send_bytes(message)

    def gather(self, message: bytes) -> list[bytes]:
        """Everyone's message, by rank: each passes on what it received, until all have all."""
        messages = {self.rank: message}
        for turn in range(WORKERS - 1):
            to_send = messages[(self.rank - turn) % WORKERS]
            if self.rank % 2 == 0:  # if all sent first, nobody would receive
                self.send(to_send)
            messages[(self.rank - turn - 1) % WORKERS] = self.before.recv_bytes()
            if self.rank % 2 == 1:
                self.send(to_send)
        return [messages[rank] for rank in range(WORKERS)]


def each_decides(layers: Layers) -> Masks:
    scores = ks.scores
    return ks.mask_update.update_masks(
        layers,
        PRUNE_RATE,
        scores.magnitude,
        scores.mean_momentum,
        scores.momentum,
        np.random.default_rng(0),
    )


def one_decides(ring: Ring, layers: Layers) -> Masks:
    """The first decides; bits go from each worker to the next."""
    if ring.rank == 0:
        masks = each_decides(layers)
        ring.send(pickle.dumps([np.packbits(mask) for mask in masks]))
        return masks
    message = ring.before.recv_bytes()
    if ring.rank < WORKERS - 1:
        ring.send(message)
    return [
        unpack(bits, layer.mask.shape)
        for bits, layer in zip(pickle.loads(message), layers, strict=True)
    ]


def sharded_by_layer(ring: Ring, layers: Layers) -> Masks:
    """Three numbers a layer are all that the budget needs of the layers that others decide."""
    mine = parts_of([layer.mask.size for layer in layers])[ring.rank]
    facts = {
        i: (
            np.count_nonzero(layers[i].mask),
            layers[i].mask.size,
            ks.scores.mean_momentum(layers[i]),
        )
        for i in mine
    }
    everyone = {
        i: fact
        for message in ring.gather(pickle.dumps(facts))
        for i, fact in pickle.loads(message).items()
    }
    active, total, shares = (
        np.array([everyone[i][k] for i in range(len(layers))]) for k in range(3)
    )
    counts = Counts(active, total - active, np.ones_like(active), shares / shares.sum())
    pruned = prune_counts(counts, PRUNE_RATE)
    grown = grow_counts(counts, pruned)
    masks = {i: _decide(layers[i], int(active[i] - pruned[i]), int(grown[i])) for i in mine}
    gathered = ring.gather(pickle.dumps({i: np.packbits(mask) for i, mask in masks.items()}))
    for message in gathered[: ring.rank] + gathered[ring.rank + 1 :]:
        masks |= {
            i: unpack(bits, layers[i].mask.shape) for i, bits in pickle.loads(message).items()
        }
    return [masks[i] for i in range(len(layers))]


WAYS: dict[str, Callable[[Ring, Layers], Masks]] = {
    "each decides": lambda ring, layers: each_decides(layers),
    "one decides, sends bits": one_decides,
    "sharded by layer": sharded_by_layer,
}


def parts_of(sizes: Sequence[int]) -> list[list[int]]:
    """Which layers each worker decides: the largest first, always to the one that has least."""
    parts: list[list[int]] = [[] for _ in range(WORKERS)]
    for i in np.argsort(sizes)[::-1]:
        min(parts, key=lambda part: sum(sizes[k] for k in part)).append(int(i))
    return parts


def run_and_predict(weights: int) -> dict[str, tuple[float, list[list[Work]]]]:
    """{way: predicted CPU seconds of the worker that has most to do, and for each repeat the work of every worker}."""
    layers = random_layers(transformer_shapes(weights))
    work = run(layers, TURNS)
    sizes = [layer.mask.size for layer in layers]
    part = max(sum(sizes[i] for i in mine) for mine in parts_of(sizes)) / sum(sizes)
    masks = [layer.mask for layer in layers]
    packed = [np.packbits(mask) for mask in masks]
    update = cpu_seconds(lambda: each_decides(layers))
    weights_after = [np.empty_like(layer.weight) for layer in layers]
    write = cpu_seconds(
        lambda: [
            np.multiply(layer.weight, mask, out=after)
            for layer, mask, after in zip(layers, masks, weights_after, strict=True)
        ]
    )
    pack = cpu_seconds(lambda: [np.packbits(mask) for mask in masks])
    unpacking = cpu_seconds(
        lambda: [unpack(bits, mask.shape) for bits, mask in zip(packed, masks, strict=True)]
    )
    predicted = (
        update + write,
        update + write + pack,
        part * (update + pack) + (1 - part) * unpacking + write,
    )
    return {way: (seconds, work[way]) for way, seconds in zip(WAYS, predicted, strict=True)}


def run(layers: Layers, repeats: int) -> dict[str, list[list[Work]]]:
    """{way: for each repeat, the work of every worker}.

    Workers are forked, and share the memory of the layers: call this before TensorFlow has started threads.
    """
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(WORKERS)]  # pipe k leads to worker k
    barrier, results = context.Barrier(WORKERS), context.SimpleQueue()
    rings = [Ring(rank, pipes[rank][0], pipes[(rank + 1) % WORKERS][1]) for rank in range(WORKERS)]
    workers = [
        context.Process(target=_worker, args=(ring, layers, repeats, barrier, results))
        for ring in rings
    ]
    for worker in workers:
        worker.start()
    work = [results.get() for _ in workers]
    for worker in workers:
        worker.join()
    return {way: [[one[way][i] for one in work] for i in range(1, 1 + repeats)] for way in WAYS}


def _worker(ring: Ring, layers: Layers, repeats: int, barrier: Any, results: Any) -> None:
    work: dict[str, list[Work]] = {way: [] for way in WAYS}
    weights = [np.empty_like(layer.weight) for layer in layers]
    for _ in range(1 + repeats):  # the first is to warm up
        for way, decide in WAYS.items():
            barrier.wait()
            ring.sent, begin, cpu = 0, time.perf_counter(), time.process_time()
            masks = decide(ring, layers)
            for weight, layer, mask in zip(weights, layers, masks, strict=True):
                np.multiply(layer.weight, mask, out=weight)
            cpu, end = time.process_time() - cpu, time.perf_counter()
            digest = hashlib.sha256(
                b"".join(np.packbits(mask).tobytes() for mask in masks)
            ).hexdigest()
            work[way].append(Work(cpu, begin, end, ring.sent, digest))
    results.put(work)


def _decide(layer: ks.MaskedLayer, keep: int, grow: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    kept = ks.mask_update.top_k_mask(ks.scores.magnitude(layer, rng), keep, layer.mask)
    kept |= ks.mask_update.top_k_mask(ks.scores.momentum(layer, rng), grow, ~kept)
    return kept
