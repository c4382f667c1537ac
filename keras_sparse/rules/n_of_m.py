"""NofM: single weights, at most n of m neighbouring inputs of each output active (NumPy only)."""

import dataclasses
import math
from typing import Any

import numpy as np

from keras_sparse.rules.density import Shape
from keras_sparse.rules.received import received
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure
from keras_sparse.rules.whole_numbers import is_positive_integer


@dataclasses.dataclass(frozen=True, eq=False)
class NofM(Weights):
    """At most ``n`` of ``m`` weights are active, such as 2 of 4.

    A run is ``m`` neighbours along the last axis but one, counted from 0, at one tap and one
    output: the input channels of a dense layer or a convolution. The last run has the weights that
    are left, of which ``n`` may be active, too. The density is at most n / m; at n / m, each whole
    run has ``n`` active weights. Weights are pruned one by one, and grow in runs with room.

    Products are computed as for single weights: no speed follows from this structure. It is for
    other libraries that have kernels for 2 of 4.

    Args:
        n: active weights in a run, at most.
        m: weights of a run, more than ``n``.

    Raises:
        ValueError: numbers that are not positive integers, or ``n`` not below ``m``.

    >>> NofM(2, 4).most_groups((8, 3)), NofM(2, 4).most_groups((9, 3))
    (12, 15)
    """

    n: int
    m: int

    kind = "n_of_m"

    def __post_init__(self) -> None:
        are_integers = is_positive_integer(self.n) and is_positive_integer(self.m)
        if not are_integers or self.n >= self.m:
            raise ValueError(
                "`n` and `m` must be positive integers, n below m, such as 2 and 4. "
                f"{received(n=self.n, m=self.m)}"
            )
        for name in ("n", "m"):  # of Python, for JSON
            object.__setattr__(self, name, int(getattr(self, name)))

    @property
    def largest_density(self) -> float:
        return self.n / self.m

    def most_groups(self, shape: Shape) -> int:
        whole, left = divmod(shape[-2], self.m)
        runs = math.prod(shape[:-2]) * shape[-1]
        return runs * (whole * self.n + min(left, self.n))

    def most_weights(self, shape: Shape) -> int:
        return self.most_groups(shape)

    def eligible(
        self, scores: np.ndarray, among: np.ndarray, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """The best candidates of each run, up to the number it has room for.

        >>> scores = np.array([[3.0], [1.0], [2.0], [1.0], [5.0]])
        >>> NofM(2, 4).eligible(scores, np.ones((5, 1), bool))[:, 0]
        array([ True, False,  True, False,  True])
        """
        chosen, better = among.copy(), self._better(scores, among)
        active = self._active_in_runs(np.zeros_like(among) if kept is None else kept)
        for i in range(self.m):
            own = better[..., i :: self.m, :]
            chosen[..., i :: self.m, :] &= own + active[..., : own.shape[-2], :] < self.n
        return chosen

    def check_mask(self, name: str, mask: np.ndarray) -> None:
        counts = self._active_in_runs(mask)
        fuller = int(np.count_nonzero(counts > self.n))
        if fuller:
            raise ValueError(
                f"The mask of {name!r} must have at most {self.n} active weights in {self.m} "
                f"neighbouring inputs, for {self!r}. Received: {fuller} of "
                f"{counts.size} runs of inputs have more"
            )

    def why_not(self, shape: Shape) -> str | None:
        return Structure.why_not(self, shape)

    def _active_in_runs(self, mask: np.ndarray) -> np.ndarray:
        """Active weights of each run, (taps..., runs, outputs)."""
        *taps, inputs, outputs = mask.shape
        counts = np.zeros((*taps, -(-inputs // self.m), outputs), np.min_scalar_type(2 * self.m))
        for i in range(min(self.m, inputs)):
            own = mask[..., i :: self.m, :]
            counts[..., : own.shape[-2], :] += own
        return counts

    def _better(self, scores: np.ndarray, candidates: np.ndarray) -> np.ndarray:
        """For each candidate, how many of its run are better; ties go to the lower index."""
        better = np.zeros(scores.shape, np.min_scalar_type(self.m))
        for j in range(1, self.m):
            second = np.s_[..., j :: self.m, :]
            runs = scores[second].shape[-2]  # the last one may have fewer inputs
            for i in range(j):
                first = np.s_[..., i : runs * self.m : self.m, :]
                is_first = candidates[first] & (
                    ~candidates[second] | (scores[first] >= scores[second])
                )
                better[second] += is_first
                better[first] += ~is_first
        return better

    def __repr__(self) -> str:
        return f"NofM({self.n}, {self.m})"

    def as_arguments(self) -> dict[str, Any]:
        return Structure.as_arguments(self)

    def get_config(self) -> dict[str, Any]:
        return {"kind": self.kind, "n": self.n, "m": self.m}
