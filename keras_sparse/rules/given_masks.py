"""GivenMasks holds the first masks that a user gives, as bits (NumPy only)."""

import base64
import collections
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse.rules import mask_bits
from keras_sparse.rules.cost_budget import cost_of
from keras_sparse.rules.density import Shape
from keras_sparse.rules.structure import Structure

TOLERANCE = 0.01  # of the active weights: counts that were rounded in each layer must fit


class GivenMasks(Mapping[str, np.ndarray]):
    """{path of the weight: bool array of its shape}, copied, one bit a weight.

    Args:
        masks: True = active; each has an active weight.

    Raises:
        TypeError: a key that is no string, or an array that is not bool (names it).
        ValueError: no masks, or a mask without an active weight (names it).

    >>> masks = GivenMasks({"net/head/kernel": np.eye(4, dtype=bool)})
    >>> masks["net/head/kernel"].sum(), GivenMasks.from_config(masks.get_config()) == masks
    (np.int64(4), True)
    """

    def __init__(self, masks: Mapping[str, Any]) -> None:
        self._bits: dict[str, tuple[Shape, np.ndarray]] = {}
        if not masks:
            raise ValueError("`initial_masks` must hold masks. Received: initial_masks={}")
        for path, given in masks.items():
            mask = np.asarray(given)
            _check_mask(path, mask)
            self._bits[path] = mask.shape, mask_bits.pack(mask)

    def __getitem__(self, path: str) -> np.ndarray:
        shape, bits = self._bits[path]
        return mask_bits.unpack(bits, shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._bits)

    def __len__(self) -> int:
        return len(self._bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GivenMasks) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        active = sum(int(mask.sum()) for mask in self.values())
        total = sum(mask.size for mask in self.values())
        return f"<{len(self)} masks, density {active / total:.4g}>"

    # --- the masks of given weights

    def of(self, names: Sequence[str], shapes: Sequence[Shape]) -> list[np.ndarray]:
        """The masks of these weights, in order.

        A weight whose path is not there has the only mask whose path ends like its own, if no other
        weight has it: a model that Keras has loaded may have lost the first folders of its paths.

        Args:
            names: paths of the weights that get a mask.
            shapes: shapes of these weights.

        Raises:
            ValueError: a weight without a mask, a mask without a weight, or of another shape.
        """
        found = {name: name if name in self._bits else self._similar(name) for name in names}
        times = collections.Counter(found.values())
        missing = [name for name, path in found.items() if path is None or times[path] > 1]
        unused = [path for path in self if path not in found.values()]
        if missing or unused:
            raise ValueError(
                "`initial_masks` must have a mask for each weight that gets one, and no other; "
                "`dense` and `sparse` say which weights do. Received: "
                f"no mask for {missing}; masks of no such weight for {unused}"
            )
        masks = [self[str(found[name])] for name in names]
        for name, mask, shape in zip(names, masks, shapes, strict=True):
            if mask.shape != shape:
                rule = (
                    f"The mask of {name!r} in `initial_masks` must have the weight's shape {shape}"
                )
                raise ValueError(f"{rule}. Received: shape {mask.shape}")
        return masks

    def _similar(self, name: str) -> str | None:
        ends = [p for p in self if p.endswith(f"/{name}") or name.endswith(f"/{p}")]
        return ends.pop() if len(ends) == 1 else None

    # --- in a config

    def get_config(self) -> dict[str, Any]:
        """As JSON: {path: {"shape": [...], "bits": compressed, base64}}."""
        config = {}
        for path, (shape, bits) in self._bits.items():
            text = base64.b64encode(zlib.compress(bits.tobytes())).decode()
            config[path] = {"shape": list(shape), "bits": text}
        return config

    @staticmethod
    def from_config(config: Mapping[str, Any]) -> "GivenMasks":
        masks = {}
        for path, one in config.items():
            bits = np.frombuffer(zlib.decompress(base64.b64decode(one["bits"])), np.uint8)
            masks[path] = mask_bits.unpack(bits, tuple(one["shape"]))
        return GivenMasks(masks)


def check_given(
    names: Sequence[str],
    masks: Sequence[np.ndarray],
    wanted: int,
    structure: Structure,
    costs: Sequence[int] | None = None,
) -> None:
    """Raises ValueError for a group active in part, and for another density than the given one.

    Args:
        names: names of the weights, for errors.
        masks: bool arrays.
        wanted: active weights in all masks together; with ``costs``, what they may cost.
        structure: what the masks are made of.
        costs: the cost of one weight of each mask, in multiply-adds; None: the budget is not one
            of costs.
    """
    for name, mask in zip(names, masks, strict=True):
        structure.check_mask(name, mask)
    of_each = [1] * len(masks) if costs is None else costs
    active = cost_of(masks, costs)
    total = sum(mask.size * cost for mask, cost in zip(masks, of_each, strict=True))
    pairs = zip(masks, of_each, strict=True)
    largest = max(structure.group_size(mask.shape) * cost for mask, cost in pairs)
    if abs(active - wanted) > max(TOLERANCE * wanted, largest - 1, len(masks)):
        counted = "active weights" if costs is None else "multiply-adds"
        raise ValueError(
            f"`density` must be that of `initial_masks`, {active / total:.6g} at the first step: "
            f"the masks have {active} {counted}. Received: {wanted / total:.6g}, {wanted} "
            f"{counted}, for {list(names)}"
        )


def _check_mask(path: Any, mask: np.ndarray) -> None:
    if not isinstance(path, str) or mask.dtype != bool:
        received = f"{path!r} with an array of dtype {mask.dtype}"
        raise TypeError(
            f"`initial_masks` must map paths of weights to bool arrays. Received: {received}",
        )
    if not mask.any():
        rule = "A mask in `initial_masks` must have an active weight"
        raise ValueError(f"{rule}. Received: {path!r} with none")


def unique_names(paths: Sequence[str]) -> list[str]:
    """Paths of weights; where several have one path, the second is ``path#2``, and so on.

    >>> unique_names(["d/kernel", "head/kernel", "d/kernel"])
    ['d/kernel', 'head/kernel', 'd/kernel#2']
    """
    earlier = [paths[:i].count(path) for i, path in enumerate(paths)]
    return [f"{path}#{n + 1}" if n else path for path, n in zip(paths, earlier, strict=True)]
