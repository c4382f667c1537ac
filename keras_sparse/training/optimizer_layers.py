"""The optimizer's layers as a mask update reads them: one at a time, when asked, so that few are in memory at once."""

from collections.abc import Iterator, Sequence

import numpy as np

from keras_sparse._keras import to_float32, to_numpy
from keras_sparse.rules.scores import MaskedLayer
from keras_sparse.training.masked_optimizer import MaskedOptimizer
from keras_sparse.training.momentum import GradientAverage, momentum_of


class OptimizerLayers(Sequence[MaskedLayer]):
    """The masked layers of an optimizer that are trained; each access reads its variables anew and nothing is kept.

    Args:
        optimizer: a built optimizer.
        positions: their places among all masked layers.
        masks: masks to show in place of the optimizer's, or None; one for each position.
        average: its gradient average, or None.
        average_is_momentum: the average stands for the momentum; else it is the last gradient.
    """

    def __init__(
        self,
        optimizer: MaskedOptimizer,
        positions: Sequence[int],
        masks: Sequence[np.ndarray] | None,
        average: GradientAverage | None,
        average_is_momentum: bool,
    ) -> None:
        self._optimizer, self._positions, self._masks = optimizer, positions, masks
        self._average, self._average_is_momentum = average, average_is_momentum

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[MaskedLayer]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> MaskedLayer:  # type: ignore[override]  # no slices: a layer is read when needed
        position = self._positions[i]
        variable, mask = (
            self._optimizer.masked_variables[position],
            self._optimizer.mask_variables[position],
        )
        average = None if self._average is None else lambda: momentum_of(self._average, position)
        index = self._optimizer.masked_indices[position]
        return MaskedLayer(
            variable.path,
            weight=lambda: to_float32(variable),
            mask=self._masks[i] if self._masks else lambda: to_numpy(mask),
            momentum=average
            if self._average_is_momentum
            else lambda: momentum_of(self._optimizer.inner_optimizer, index),
            gradient=None if self._average_is_momentum else average,
            block_shape=self._optimizer.block_shape,
        )
