"""Who looks on when the masks of an optimizer are updated."""

import weakref
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np


class MaskWatcher(Protocol):
    """Somebody who looks on."""

    def see_masks(
        self, optimizer: Any, weights: Sequence[Any], masks: Sequence[np.ndarray]
    ) -> None:
        """Called before an update, or ``set_masks``, changes masks.

        Args:
            optimizer: the SparseMomentum.
            weights: a MaskedWeight for each mask that is replaced; they still have the old ones.
            masks: the new masks, bool arrays.
        """


class MaskWatchers:
    """The watchers of one optimizer, held weakly; copies and files of the optimizer have none."""

    def __init__(self) -> None:
        self._watchers: weakref.WeakSet[MaskWatcher] = weakref.WeakSet()

    def add(self, watcher: MaskWatcher) -> None:
        self._watchers.add(watcher)

    def discard(self, watcher: MaskWatcher) -> None:
        self._watchers.discard(watcher)

    def clear(self) -> None:
        self._watchers.clear()

    def tell(self, optimizer: Any, weights: Sequence[Any], masks: Sequence[np.ndarray]) -> None:
        """Shows all watchers the masks that are about to be replaced; see ``see_masks``."""
        for watcher in list(self._watchers):
            watcher.see_masks(optimizer, weights, masks)

    def __reduce__(self) -> Any:
        return type(self), ()
