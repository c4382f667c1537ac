"""Names a structure on the command line and in tables: `weights`, `4x4`, `4x4-per-tap`."""

from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure


def structure(text: str) -> Structure:
    """``weights``, ``4x4`` or ``4x4-per-tap``: input x output channels of a block."""
    if text == "weights":
        return Weights()
    size, _, per_tap = text.partition("-")
    if per_tap not in ("", "per-tap"):
        raise ValueError(text)
    in_, out = map(int, size.split("x"))
    return Blocks(in_, out, per_tap=bool(per_tap))


def name_of(structure: Structure) -> str:
    """The text that `structure` reads."""
    if not isinstance(structure, Blocks):
        return "weights"
    return f"{structure.in_}x{structure.out}" + "-per-tap" * structure.per_tap
