"""Checks that masks are the same on all replicas and workers, in the layers and the optimizer."""

import dataclasses
import functools
import hashlib
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import strategy_of, to_numpy
from keras_sparse.compute.mask_state import KernelMask
from keras_sparse.rules.received import received
from keras_sparse.training.find_optimizer import sparse_momentum_of
from keras_sparse.training.masked_optimizer import MaskedOptimizer

# what is known of one copy of one layer: two hashes and two counts
MASK, SWITCHES, OTHER_IN_LAYER, NOT_ZERO = range(4)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """The result of a check in which all masks agreed.

    Attributes:
        copies: number of copies of each mask, on the replicas of all workers.
        digest: digest of all masks, 16 hexadecimal digits; a repeated or resumed training has the
            same one.
    """

    copies: int
    digest: str


def check_agreement(trained: Any) -> Agreement:
    """Checks that all copies of the masks are equal, and that missing weights are 0 everywhere.

    It reads masks and weights once; workers exchange only hashes and counts. Call it between steps,
    outside ``tf.function`` and replica contexts. With several workers, call it on all of them: it
    is a collective operation.

    Args:
        trained: a built model that is compiled with a SparseMomentum, or the optimizer itself.

    Raises:
        ValueError: there is no SparseMomentum, or it has no masks yet.
        RuntimeError: a layer differs, on all workers; the message names the layers, replicas and
            workers.
        NotImplementedError: the masks are those of several JAX processes.

    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(ks.SparseMomentum("sgd", density=0.25, gradient_momentum=0.9), "mse")
    >>> model.optimizer.build(model)
    >>> ks.check_agreement(model).copies
    1
    """
    optimizer = trained if isinstance(trained, MaskedOptimizer) else sparse_momentum_of(trained)
    if optimizer is None or not optimizer.masked_weights:
        raise ValueError(
            "`trained` must be a SparseMomentum, or a model compiled with one, that is built: call "
            "`optimizer.build(model)` first, or train. "
            f"{received(trained=trained)}"
        )
    states = _states(optimizer)
    shapes = _hash(str([one.shape for one in optimizer.masked_weights]).encode())
    workers = _of_all_workers(
        optimizer,
        np.array(
            [[shapes, _hash(copy.tobytes()), copy[:, OTHER_IN_LAYER:].sum()] for copy in states]
        ),
    )
    rows = np.concatenate(workers)  # of all copies
    if len(set(rows[:, 0])) > 1:
        raise RuntimeError(
            "The workers train different models. "
            f"Received: this worker's masked weights are {optimizer.masked_names}"
        )
    if len(set(rows[:, 1])) > 1 or rows[:, 2].sum():
        differences = _differences(optimizer.masked_names, _of_all_workers(optimizer, states))
        raise RuntimeError(
            "The masks are not the same everywhere. Change them between steps and on every worker "
            "alike, by `update_masks` or `set_masks`; to go on, load the last checkpoint on every "
            f"worker. Received: {'; '.join(differences)}"
        )
    return Agreement(len(rows), f"{_hash(states[0, :, MASK].tobytes()) % 2**64:016x}")


def _states(optimizer: MaskedOptimizer) -> np.ndarray:
    """What this process knows: int64, shape (copies, layers, 4)."""
    layers = [
        _states_of_layer(one.variable, one.mask_variable, one.kernel_mask)
        for one in optimizer.masked_weights
    ]
    return np.array(layers, np.int64).transpose(1, 0, 2)


def _states_of_layer(weight: Any, mask: Any, kernel_mask: KernelMask | None) -> list[list[int]]:
    masks, weights = _copies(mask), _copies(weight)
    if len(weights) == 1:  # a weight in pieces is one value; each device has a copy of its mask
        weights *= len(masks)
    in_layer = (
        masks if kernel_mask is None or kernel_mask.mask is mask else _copies(kernel_mask.mask)
    )
    switches = (
        [_copies(variable) for variable in kernel_mask.variables[1:]]
        if kernel_mask is not None
        else []
    )
    return [
        [
            _hash(np.packbits(one).tobytes()),
            _hash(b"".join(switch[i].tobytes() for switch in switches)),
            int(np.count_nonzero(one != layers_own)),
            int(np.count_nonzero(values[~one])),
        ]
        for i, (one, layers_own, values) in enumerate(zip(masks, in_layer, weights, strict=True))
    ]


def _copies(variable: Any) -> list[np.ndarray]:
    """The values of a variable on the devices of this process."""
    value = variable.value
    if keras.backend.backend() == "jax":
        if not value.is_fully_addressable:
            raise NotImplementedError(
                "Masks of several JAX processes cannot be compared. "
                f"Received: {variable.path} on {value.sharding}"
            )
        return (
            [np.asarray(shard.data) for shard in value.addressable_shards]
            if value.is_fully_replicated
            else [to_numpy(value)]
        )
    return [to_numpy(copy) for copy in getattr(value, "values", [value])]


def _hash(data: bytes) -> int:
    """An int64."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little", signed=True)


def _of_all_workers(optimizer: MaskedOptimizer, rows: np.ndarray) -> np.ndarray:
    """One row for each copy in this process -> int64, shape (workers, copies in each, ...)."""
    strategy = (
        strategy_of(optimizer.masked_variables) if keras.backend.backend() == "tensorflow" else None
    )
    if strategy is None or strategy.num_replicas_in_sync == len(rows):
        return rows[None]

    def row_in_its_place(context: Any) -> Any:
        table = np.zeros((strategy.num_replicas_in_sync, *rows.shape[1:]), np.int64)
        table[context.replica_id_in_sync_group] = rows[context.replica_id_in_sync_group % len(rows)]
        return keras.ops.convert_to_tensor(table)

    summed = _all_reduce(strategy)(
        strategy.experimental_distribute_values_from_function(row_in_its_place)
    )
    return to_numpy(strategy.experimental_local_results(summed)[0]).reshape(-1, *rows.shape)


@functools.cache
def _all_reduce(strategy: Any) -> Any:
    """A function that sums a tensor over all replicas.

    It is traced once; ``strategy.gather`` would be traced at every call.
    """
    import tensorflow as tf

    def all_reduce(table: Any) -> Any:
        placed = tf.identity(table)  # a tensor that has a device
        return tf.distribute.get_replica_context().all_reduce("SUM", placed)

    return tf.function(lambda table: strategy.run(all_reduce, args=(table,)), autograph=False)


def _differences(names: list[str], states: np.ndarray) -> list[str]:
    """In words, layer by layer; states of all workers, shape (workers, copies, layers, 4)."""
    places = [f"worker {worker} replica {copy}" for worker, copy in np.ndindex(states.shape[:2])]
    of_copies = np.concatenate(states)
    found = []
    for layer, name in enumerate(names):
        for column, what in ((MASK, "masks"), (SWITCHES, "the layer's growth window or density")):
            groups: dict[int, list[str]] = {}
            for place, value in zip(places, of_copies[:, layer, column], strict=True):
                groups.setdefault(int(value), []).append(place)
            if len(groups) > 1:
                found.append(
                    f"{name!r}: {what} differ between {' | '.join(map(', '.join, groups.values()))}"
                )
        for column, what in (
            (OTHER_IN_LAYER, "bits of the layer's mask are not the optimizer's"),
            (NOT_ZERO, "missing weights are not 0"),
        ):
            found += [
                f"{name!r}: {count} {what} on {place}"
                for place, count in zip(places, of_copies[:, layer, column], strict=True)
                if count
            ]
    return found
