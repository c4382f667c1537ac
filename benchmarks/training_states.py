"""Reads and compares the states that an interrupted training writes."""

from pathlib import Path

import numpy as np

State = dict[str, np.ndarray]


def state(folder: Path, name: str) -> State:
    """A state that the training has written; empty where it has not."""
    if not (folder / f"{name}.npz").exists():
        return {}
    with np.load(folder / f"{name}.npz") as arrays:
        return dict(arrays)


def same(one: State, other: State) -> bool:
    """The same variables and the same epoch, bit for bit."""
    if one.keys() != other.keys():
        return False
    pairs = [(one[key], other[key]) for key in one]
    return all(a.dtype == b.dtype and a.tobytes() == b.tobytes() for a, b in pairs)


def masks_of(full: State) -> State:
    """The masks, and when they were last updated."""
    return {key: value for key, value in full.items() if key.endswith(("_mask", "last_update"))}


def active(full: State) -> int:
    """Active weights in all."""
    return sum(int(value.sum()) for key, value in full.items() if key.endswith("_mask"))


def steps(full: State) -> int:
    """Steps of the optimizer."""
    return next(int(value) for key, value in full.items() if key.endswith("sgd.iteration"))
