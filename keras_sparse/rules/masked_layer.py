"""A masked weight as rules see it: weight, mask, momentum and gradient (NumPy only)."""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure

Read = np.ndarray | Callable[[], np.ndarray]


class MaskedLayer:
    """One masked weight, as scores and shares see it.

    An array that costs a copy is read when a rule first asks for it.

    Args:
        name: path of the weight, e.g. ``"lenet/conv2d/kernel"``.
        weight: float array, kernel shape, e.g. (h, w, in, out).
        mask: bool array of that shape, True = active.
        momentum: float array of that shape, dense: filled where the mask is False, too.
        gradient: the dense gradient of the last step, same shape; it is kept only for rules that
            need it.
        block_shape: (in, out) channels of one block over all taps, or None for single weights; the
            short form of ``structure``.
        structure: a structure such as ``keras_sparse.Blocks``, or None: what ``block_shape`` says.
        cost: what one active weight costs, where the budget is one of costs: its multiply-adds.

    Each array may also be a function without arguments that reads it.

    Attributes:
        structure: what the mask is made of, a Structure.

    Raises:
        ValueError: arrays of different shapes, or a mask that is not bool.

    >>> layer = MaskedLayer("net/kernel", np.array([[2.0, 0.0]]), np.array([[True, False]]))
    >>> ks.scores.mean_magnitude(layer)
    2.0
    """

    def __init__(
        self,
        name: str,
        weight: Read,
        mask: Read,
        momentum: Read | None = None,
        gradient: Read | None = None,
        block_shape: BlockShape = None,
        structure: Structure | None = None,
        cost: int = 1,
    ) -> None:
        self.name, self.cost = name, cost
        self.structure = as_structure(block_shape, structure)
        self._sources = {"weight": weight, "mask": mask, "momentum": momentum, "gradient": gradient}
        self._check_arrays()

    def _check_arrays(self) -> None:
        """Raises ValueError for arrays of different shapes, or a mask that is not bool."""
        arrays = {name: a for name, a in self._sources.items() if isinstance(a, np.ndarray)}
        if "mask" in arrays and arrays["mask"].dtype != bool:
            raise ValueError(f"`mask` must be bool. Received: mask.dtype={arrays['mask'].dtype}")
        if len({array.shape for array in arrays.values()}) > 1:
            shapes = ", ".join(f"{name}.shape={array.shape}" for name, array in arrays.items())
            raise ValueError(f"All arrays must have the shape of `weight`. Received: {shapes}")

    @property
    def block_shape(self) -> BlockShape:
        """(in, out) channels of a block over all taps; None for any other structure."""
        return self.structure.block_shape

    @cached_property
    def weight(self) -> np.ndarray:
        return self._read("weight")

    @cached_property
    def mask(self) -> np.ndarray:
        return self._read("mask")

    @cached_property
    def momentum(self) -> np.ndarray:
        return self._read("momentum")

    @cached_property
    def gradient(self) -> np.ndarray:
        return self._read("gradient")

    def __repr__(self) -> str:
        kept = [what for what, source in self._sources.items() if source is not None]
        return f"MaskedLayer({self.name!r}, {self.structure}, of {', '.join(kept)})"

    def _read(self, what: str) -> np.ndarray:
        source = self._sources[what]
        if source is None:
            raise ValueError(
                f"A rule asks for the {what} of {self.name!r}, which is not kept. "
                f"Mark the rule with `@keras_sparse.scores.needs({what!r})`. Received: {self!r}"
            )
        return source() if callable(source) else source
