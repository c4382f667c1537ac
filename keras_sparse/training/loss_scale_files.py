"""Without its LossScaleOptimizer, a run goes on from what the file has at that one's place.

Keras puts a LossScaleOptimizer around an optimizer by the dtype policy of the process, and no
config says so. A process of another policy looks for the inner optimizer where the file has the
outer one. There, the values of the outer one come first, then all of the inner one.
"""

import functools
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

OWN = ("iteration", "learning_rate", "step_counter", "dynamic_scale")  # of a LossScaleOptimizer
MIXED = "mixed_float16"


def values_inside(store: Any, parts: Sequence[Any]) -> list[np.ndarray] | None:
    """What a LossScaleOptimizer saved of the optimizer inside, in the order of its ``variables``.

    Warns that the training goes on without it.

    Args:
        store: a Keras weight store.
        parts: the optimizers inside of that one, or None. The values are theirs, too.

    Returns:
        []: that optimizer was not built. None: the store is of another optimizer.
    """
    names = list(store.keys())
    if len(names) <= len(OWN) or set(names) != {str(i) for i in range(len(names))}:
        return None
    values = [np.asarray(store[str(i)]) for i in range(len(names))]
    own = values[: len(OWN)]
    are_integers = [np.issubdtype(value.dtype, np.integer) for value in own]
    if are_integers != [True, False, True, False] or any(value.shape for value in own):
        return None
    warnings.warn(WITHOUT.format(keras.config.dtype_policy().name), stacklevel=2)
    for part in filter(None, parts):
        for optimizer in (part, *getattr(part, "optimizers", ())):
            vars(optimizer)["load_own_variables"] = functools.partial(_load, optimizer)
    is_built = any(value.shape for value in values)  # there are momenta
    return values[len(OWN) :] if is_built else []


def _load(optimizer: Any, store: Any) -> None:
    """Loads numbered values, as Keras' optimizers have.

    Where this one has its place without the outer one, the file has the masks, or nothing.
    """
    if "0" in list(store.keys()):
        type(optimizer).load_own_variables(optimizer, store)


def advice() -> str:
    """What to do about a file that holds no masks at the place inside a LossScaleOptimizer."""
    return ADVICE if keras.config.dtype_policy().name == MIXED else ""


WITHOUT = (
    "The file is of a training with loss scaling, which Keras adds where the dtype policy is "
    f'"{MIXED}". Masks, momenta and steps are the file\'s, but training goes on without loss '
    f'scaling, and small gradients may become 0. Call keras.config.set_dtype_policy("{MIXED}") '
    "before you load the file. Received: the dtype policy {!r}"
)
ADVICE = (
    f' Under "{MIXED}", Keras adds loss scaling, and looks for the masks elsewhere: a file of a '
    "sparse run without it must be loaded under that run's dtype policy."
)
