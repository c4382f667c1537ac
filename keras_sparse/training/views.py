"""What scores and shares see of all masked weights: a view of each, made when asked."""

from collections.abc import Iterator, Sequence

import numpy as np

from keras_sparse.rules.masked_layer import MaskedLayer
from keras_sparse.training.masked_weight import MaskedWeight


class Views(Sequence[MaskedLayer]):
    """The views of masked weights, each made anew when asked: few arrays are in memory at once.

    Args:
        weights: the masked weights.
        masks: masks to show in place of theirs, or None.
    """

    def __init__(
        self, weights: Sequence[MaskedWeight], masks: Sequence[np.ndarray] | None = None
    ) -> None:
        self._weights, self._masks = weights, masks

    def __len__(self) -> int:
        return len(self._weights)

    def __iter__(self) -> Iterator[MaskedLayer]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> MaskedLayer:  # type: ignore[override]  # no slices
        return self._weights[i].view(None if self._masks is None else self._masks[i])
