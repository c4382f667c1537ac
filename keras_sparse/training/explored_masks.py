"""The weights that were ever active, as bits, and their share: the exploration rate of ITOP.

Liu et al. 2021 (*Do We Actually Need Dense Over-Parameterization?*, arXiv 2102.02887) call the
share of the weights that have ever been active the in-time over-parameterization rate R_s. It
changes where masks change, so a step costs nothing.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import bytes_of_tensor, is_eager, tensor_of_bytes, to_numpy
from keras_sparse.rules import mask_bits
from keras_sparse.training.held_masks import MaskHolder, Masks


class ExploredMasks(MaskHolder):
    """Holds, beside the masks, which weights were ever active; arguments as for MaskHolder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._explored = _Explored()
        self._restored_explored = b""  # of a TensorFlow checkpoint, until there are masks

    @property
    def explored_variables(self) -> list[Any]:
        """For each mask an int32 variable, one bit a weight."""
        return self._explored.variables

    @property
    def variables(self) -> list[Any]:
        return super().variables + self.explored_variables

    def has_trained(self) -> bool:
        """Was a step made?  What is active before any step does not count as explored."""
        return int(to_numpy(self.iterations)) > 0

    # --- to see

    @property
    def explored(self) -> dict[str, np.ndarray]:
        """{path of the weight: bool array of its shape, True = was ever active}, copies."""
        shapes = [tuple(variable.shape) for variable in self.masked_variables]
        arrays = [mask_bits.unpack(self._bits(i), shape) for i, shape in enumerate(shapes)]
        return dict(zip(self.masked_names, arrays, strict=True))

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
        sizes = [int(np.prod(variable.shape)) for variable in self.masked_variables]
        ones = [np.unpackbits(self._bits(i)).sum(dtype=np.int64) for i in range(len(sizes))]
        return float(sum(ones) / sum(sizes)) if sizes else 1.0

    def _bits(self, position: int) -> np.ndarray:
        """The bits of a weight; those of its mask where a checkpoint brought masks without them."""
        mask = mask_bits.pack(to_numpy(self.mask_variables[position]))
        bits = mask_bits.from_words(to_numpy(self.explored_variables[position]), len(mask))
        return mask if (mask & ~bits).any() else bits

    # --- to keep

    def make_mask_variables(self, indices: Sequence[int]) -> None:
        super().make_mask_variables(indices)
        held = zip(self.masked_indices, self.masked_variables, strict=True)
        self._explored.variables = [_bits_of(weight, f"explored_{i}") for i, weight in held]

    def put_masks(self, masks: Masks, positions: Sequence[int] | None = None) -> None:
        positions = range(len(self.mask_variables)) if positions is None else positions
        has_trained = self.has_trained()
        for position, mask in zip(positions, masks, strict=True):
            bits = mask_bits.pack(mask)
            if has_trained and to_numpy(self.explored_variables[position]).any():
                bits |= self._bits(position)
            self._assign_bits(position, bits)
        super().put_masks(masks, positions)

    def put_explored(self, explored: Mapping[int, np.ndarray | None]) -> None:
        """Takes what a file says was ever active, in addition to what is active now.

        Args:
            explored: {index of a masked weight: its bits, or None: the file does not say}.
        """
        for position, index in enumerate(self.masked_indices):
            bits = mask_bits.pack(to_numpy(self.mask_variables[position]))
            saved = explored.get(index)
            self._assign_bits(position, bits if saved is None else bits | saved)

    def _assign_bits(self, position: int, bits: np.ndarray) -> None:
        self.explored_variables[position].assign(mask_bits.to_words(bits))

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
        known = self.explored_variables if is_eager() else []  # not where a SavedModel is traced
        bits = b"".join(self._bits(i).tobytes() for i in range(len(known)))
        saved = zlib.compress(bits) if bits else self._restored_explored
        return {IN_CHECKPOINT: tensor_of_bytes(saved)}

    def _restore_from_tensors(self, restored: Mapping[str, Any]) -> None:
        if not is_eager():
            return
        self._restored_explored = bytes_of_tensor(restored[IN_CHECKPOINT])
        if self.explored_variables:
            self.use_restored_explored()

    def use_restored_explored(self) -> None:
        """Takes what a checkpoint has brought, which may have been read before there were masks."""
        saved, self._restored_explored = self._restored_explored, b""
        bits = np.frombuffer(zlib.decompress(saved) if saved else b"", np.uint8)
        sizes = [mask_bits.number_of_bytes(tuple(v.shape)) for v in self.masked_variables]
        if bits.size != sum(sizes):  # it has none: it was saved before there were masks
            return
        for position, own in enumerate(np.split(bits, np.cumsum(sizes))[:-1]):
            self._assign_bits(position, own)


IN_CHECKPOINT = "explored"  # the name of the value


def _bits_of(weight: Any, name: str) -> Any:
    shape = (-(-mask_bits.number_of_bytes(tuple(weight.shape)) // 4),)
    return keras.Variable("zeros", shape, "int32", trainable=False, name=name)


class _Explored:
    """Holds variables that neither Keras nor TensorFlow finds: files name them one by one."""

    def __init__(self) -> None:
        self.variables: list[Any] = []
