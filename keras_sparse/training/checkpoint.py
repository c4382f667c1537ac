"""What a file holds of a sparse run beside the weights: masks as bits, their weights, counters.

Masks are put back by the list of trainable weights where that is the file's. Else, after layers
were frozen or quantized, the path and shape of each weight decide. The inner optimizer and a
gradient average are saved by Keras, as optimizers.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse.rules import mask_bits

MASK, EXPLORED, RECORD = "mask_", "explored_", "record"
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class SavedMask:
    """One mask of a file.

    Args:
        index: place of the weight in the list of trainable weights that was saved.
        path: of the weight; None in files of version 0.1.0.
        mask: bool array.
        explored: bits of the weights that were ever active. None: those of the mask, or an earlier
            version wrote the file.
    """

    index: int
    path: str | None
    mask: np.ndarray
    explored: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class SavedState:
    """Masks and counters of a sparse run.

    Args:
        masks: one for each masked weight.
        counters: {name: value}.
        trainable: path and shape of each trainable weight; None in files of version 0.1.0.
    """

    masks: Sequence[SavedMask]
    counters: Mapping[str, int]
    trainable: Sequence[tuple[str, Shape]] | None = None

    def write(self, store: Any) -> None:
        """Writes all of it to a Keras weight store."""
        masked = [
            {"index": one.index, "path": one.path, "shape": one.mask.shape} for one in self.masks
        ]
        record = json.dumps({"masked": masked, "trainable": self.trainable})
        store[RECORD] = np.frombuffer(record.encode(), np.uint8)
        for one in self.masks:
            bits = mask_bits.pack(one.mask)
            store[f"{MASK}{one.index}"] = bits
            if one.explored is not None and (one.explored != bits).any():
                store[f"{EXPLORED}{one.index}"] = mask_bits.pack_others(one.explored, one.mask)
        for name, value in self.counters.items():
            store[name] = np.asarray(value)

    def is_list_of(self, variables: Sequence[Any]) -> bool:
        """Are these the trainable weights that were saved, by number and shapes?"""
        shapes = [tuple(variable.shape) for variable in variables]
        if self.trainable is not None:
            return shapes == [shape for _, shape in self.trainable]
        return all(
            one.index < len(shapes) and one.mask.shape == shapes[one.index] for one in self.masks
        )

    def masks_for(self, variables: Sequence[Any], chosen: Sequence[int]) -> dict[int, SavedMask]:
        """{index of a variable: its mask}. The file says which weights are masked.

        Args:
            variables: the trainable weights of now.
            chosen: indices of those that would be masked without a file.

        Raises:
            ValueError: one of the chosen is no weight of the file's model, or may be one of
                several.
        """
        if self.is_list_of(variables):
            return {one.index: one for one in self.masks}
        found = {i: self._candidates(variables, i) for i in range(len(variables))}
        for i in chosen:
            if not found[i] and not self._was_dense(variables[i]):
                self._refuse(variables, i, "no mask fits")
        for i, masks in found.items():
            if len(masks) > 1:
                self._refuse(variables, i, f"{len(masks)} masks may belong to")
        return {i: one for i, masks in found.items() for one in masks}

    def _candidates(self, variables: Sequence[Any], i: int) -> list[SavedMask]:
        """The masks that may be that of this weight, by its path.

        In files without paths a shape that no other weight has tells it.
        """
        variable, shape = variables[i], tuple(variables[i].shape)
        fitting = [one for one in self.masks if one.mask.shape == shape]
        if self.trainable is None:
            rivals = [v for v in variables if tuple(v.shape) == shape]
            return fitting if len(rivals) == len(fitting) == 1 else []
        exact = [one for one in fitting if one.path == variable.path]
        return exact or [one for one in fitting if is_same_path(one.path, variable.path)]

    def _was_dense(self, variable: Any) -> bool:
        """Was this weight trained without a mask?"""
        known = [shape for path, shape in self.trainable or () if is_same_path(path, variable.path)]
        masked = any(is_same_path(one.path, variable.path) for one in self.masks)
        return tuple(variable.shape) in known and not masked

    def _refuse(self, variables: Sequence[Any], i: int, what: str) -> None:
        saved = [
            f"{MASK}{one.index} of shape {one.mask.shape}"
            + (f" for {one.path!r}" if one.path else "")
            for one in self.masks
        ]
        raise ValueError(
            f"The checkpoint's masks are of another model: {what} {variables[i].path!r} of shape "
            f"{tuple(variables[i].shape)}. To start from its weights alone, load them before you "
            'compile, with SparseMomentum(..., initial_masks="nonzero"). '
            f"Received: {', '.join(saved)}; the weights are {[v.path for v in variables]}"
        )


def is_same_path(one: str | None, other: str) -> bool:
    """Do two paths name one weight?

    A model that Keras has loaded may have lost the first folders of its paths.

    >>> is_same_path("net/head/kernel", "head/kernel")
    True
    >>> is_same_path("head/kernel", "overhead/kernel")
    False
    """
    return one is not None and (
        one == other or one.endswith(f"/{other}") or other.endswith(f"/{one}")
    )


def read(store: Any, counter_names: Sequence[str]) -> SavedState | None:
    """What ``SavedState.write``, or version 0.1.0, wrote to this store; None: it has no masks."""
    names = list(store.keys())
    counters = {name: int(np.asarray(store[name])) for name in counter_names if name in names}
    if RECORD in names:
        record = json.loads(bytes(np.asarray(store[RECORD], np.uint8)))
        trainable = [(path, tuple(shape)) for path, shape in record["trainable"]]
        described = [(one["index"], one["path"], tuple(one["shape"])) for one in record["masked"]]
    else:
        indices = sorted(int(name.removeprefix(MASK)) for name in names if name.startswith(MASK))
        if not indices:
            return None
        trainable = None
        described = [(i, None, tuple(np.shape(store[f"{MASK}{i}"]))) for i in indices]
    masks = [_read_mask(store, *one) for one in described]
    return SavedState(masks, counters, trainable)


def _read_mask(store: Any, index: int, path: str | None, shape: Shape) -> SavedMask:
    mask = mask_bits.unpack(np.asarray(store[f"{MASK}{index}"]), shape)
    name = f"{EXPLORED}{index}"
    if name not in list(store.keys()):
        return SavedMask(index, path, mask)
    explored = mask_bits.unpack_others(np.asarray(store[name], np.uint8), mask)
    return SavedMask(index, path, mask, explored)
