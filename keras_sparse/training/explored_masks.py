"""The weights that were ever active, as bits, and their share: the exploration rate of ITOP.

Liu et al. 2021 (*Do We Actually Need Dense Over-Parameterization?*, arXiv 2102.02887) call the
share of the weights that have ever been active the in-time over-parameterization rate R_s. It
changes where masks change, so a step costs nothing.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_sparse._keras import bytes_of_tensor, is_eager, tensor_of_bytes, to_numpy
from keras_sparse.rules import mask_bits
from keras_sparse.training.held_masks import MaskHolder

IN_CHECKPOINT = "explored"  # the name of the value in TensorFlow's checkpoints


class ExploredMasks(MaskHolder):
    """Shows, beside the masks, which weights were ever active; arguments as for MaskHolder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._restored_explored = b""  # of a TensorFlow checkpoint, until there are masks

    @property
    def explored_variables(self) -> list[Any]:
        """For each mask an int32 variable, one bit a weight."""
        return [one.explored_variable for one in self.masked_weights]

    @property
    def variables(self) -> list[Any]:
        return super().variables + self.explored_variables

    # --- to see

    @property
    def explored(self) -> dict[str, np.ndarray]:
        """{path of the weight: bool array of its shape, True = was ever active}, copies."""
        return {
            one.name: mask_bits.unpack(one.explored_bits(), one.shape)
            for one in self.masked_weights
        }

    def exploration_rate(self) -> float:
        """Weights that were ever active / all masked weights; 1.0 where no weight is masked.

        It is at least the density, and that of the first masks where masks never change (Liu et
        al. 2021, arXiv 2102.02887). Frozen weights count, as in ``total_density``.

        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16)])
        >>> model.compile(ks.SparseMomentum(keras.optimizers.SGD(0.1, momentum=0.9), 0.25), "mse")
        >>> model.optimizer.build(model)
        >>> model.optimizer.exploration_rate()
        0.25
        """
        if not self.masked_weights:
            return 1.0
        ever_active = sum(one.counts().ever for one in self.masked_weights)
        return ever_active / sum(one.size for one in self.masked_weights)

    # --- lists of values

    def set_weights(self, weights: Any) -> None:
        """Sets all variables; lists that were saved without explored weights fit, too."""
        new, variables = set(map(id, self.explored_variables)), self.variables
        if len(weights) == len(variables) - len(new):
            rest = iter(weights)
            weights = [to_numpy(v) if id(v) in new else next(rest) for v in variables]
        super().set_weights(weights)

    # --- TensorFlow's checkpoints

    def _serialize_to_tensors(self) -> dict[str, Any]:
        """A value of the optimizer itself: checkpoints without it have all objects there are."""
        known = self.masked_weights if is_eager() else []  # not where a SavedModel is traced
        bits = b"".join(one.explored_bits().tobytes() for one in known)
        saved = zlib.compress(bits) if bits else self._restored_explored
        return {IN_CHECKPOINT: tensor_of_bytes(saved)}

    def _restore_from_tensors(self, restored: Mapping[str, Any]) -> None:
        if not is_eager():
            return
        self._restored_explored = bytes_of_tensor(restored[IN_CHECKPOINT])
        if self._restored_explored:  # the checkpoint holds masks
            self.begins_anew = False
        if self.masked_weights:
            self.use_restored_explored()

    def use_restored_explored(self) -> None:
        """Takes what a checkpoint has brought, which may have been read before there were masks."""
        saved, self._restored_explored = self._restored_explored, b""
        bits = np.frombuffer(zlib.decompress(saved) if saved else b"", np.uint8)
        sizes = [mask_bits.number_of_bytes(one.shape) for one in self.masked_weights]
        if bits.size != sum(sizes):  # it has none: it was saved before there were masks
            return
        pieces = np.split(bits, np.cumsum(sizes))[:-1]
        for one, own in zip(self.masked_weights, pieces, strict=True):
            one.assign_explored(own)
