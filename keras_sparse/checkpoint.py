"""What of a sparse run is saved, and what may be loaded into one?  Masks by the index of their weight, and the counters.

The inner optimizer and a gradient average are saved by Keras as what they are: optimizers in an optimizer.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_sparse._keras import to_numpy

if TYPE_CHECKING:
    from keras_sparse.masked_optimizer import MaskedOptimizer

PREFIX = "mask_"


def save(optimizer: "MaskedOptimizer", store: Any) -> None:
    """Writes masks (bool) and counters (int) to a Keras weight store."""
    for index, mask in zip(optimizer.masked_indices, optimizer.mask_variables, strict=True):
        store[f"{PREFIX}{index}"] = to_numpy(mask)
    for name in optimizer.counters:
        store[name] = np.asarray(optimizer.counter(name))


def load(optimizer: "MaskedOptimizer", store: Any) -> None:
    """Reads what ``save`` wrote. The checkpoint says which weights are masked.

    Raises:
        ValueError: a checkpoint without masks, masks for an optimizer that is not built, masks of another model.
    """
    saved = {int(key[len(PREFIX) :]): key for key in list(store.keys()) if key.startswith(PREFIX)}
    if not optimizer.built and not saved:
        return  # dense weights for a run that has not begun: `initial_masks` will look at them
    _check(optimizer, store, saved)
    if sorted(saved) != optimizer.masked_indices:
        optimizer.make_mask_variables(sorted(saved))
    optimizer.put_masks([np.asarray(store[saved[index]], bool) for index in optimizer.masked_indices])
    for name in optimizer.counters:
        optimizer.set_counter(name, int(np.asarray(store[name])))
    optimizer.open_growth_window(optimizer.counter("window_opened") >= 0)


def _check(optimizer: "MaskedOptimizer", store: Any, saved: Mapping[int, str]) -> None:
    if not saved:
        raise ValueError(
            "The checkpoint holds no masks and this is a sparse run. To go on from its weights, load them before the optimizer is built, with "
            'SparseMomentum(..., initial_masks="nonzero") if they are sparse, "magnitude" if they are dense. '
            f"Received: optimizer state {sorted(store.keys())}"
        )
    if not optimizer.built:
        raise ValueError("The checkpoint holds masks and this optimizer no variables yet: call `optimizer.build(model)` before loading. Received: built=False")
    variables = optimizer._trainable_variables
    for index, key in saved.items():
        shape = tuple(store[key].shape)
        if index >= len(variables) or shape != tuple(variables[index].shape):
            raise ValueError(f"The checkpoint's masks are of another model. Received: {key} of shape {shape}; the weights are {[v.path for v in variables]}")
