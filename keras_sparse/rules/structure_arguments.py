"""``as_structure`` reads the arguments ``block_shape`` and ``structure`` (NumPy only)."""

from collections.abc import Mapping
from typing import Any

from keras_sparse.rules.blocks import Blocks, ChannelPairs
from keras_sparse.rules.channels import Channels
from keras_sparse.rules.n_of_m import NofM
from keras_sparse.rules.received import received
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure
from keras_sparse.rules.whole_numbers import is_positive_integer

KINDS: dict[str, type[Structure]] = {cls.kind: cls for cls in (Weights, Blocks, Channels, NofM)}


def as_structure(block_shape: Any = None, structure: Any = None) -> Structure:
    """The structure that these two arguments ask for.

    Args:
        block_shape: its short form: (in, out) channels of blocks over all taps, or None.
        structure: a Structure, the config of one, or None: what ``block_shape`` says.

    Returns:
        ``Weights()`` where both are None.

    Raises:
        ValueError: both are given, or one that is not valid.

    >>> as_structure(), as_structure((1, 1)), as_structure((4, 8))
    (Weights(), ChannelPairs(), Blocks(4, 8))
    >>> as_structure(structure=Blocks(4, 4, per_tap=True).get_config())
    Blocks(4, 4, per_tap=True)
    """
    if structure is None:
        return _of_block_shape(block_shape)
    if block_shape is not None:
        raise ValueError(
            "`block_shape` is a short form of `structure`: pass one of the two. "
            f"{received(block_shape=block_shape, structure=structure)}"
        )
    if isinstance(structure, Mapping) and structure.get("kind") in KINDS:
        arguments = dict(structure)
        return KINDS[arguments.pop("kind")](**arguments)
    if not isinstance(structure, Structure):
        rule = "None or a structure, such as keras_sparse.Blocks(4, 4, per_tap=True)"
        raise ValueError(f"`structure` must be {rule}. {received(structure=structure)}")
    return structure


def _of_block_shape(block_shape: Any) -> Structure:
    if block_shape is None:
        return Weights()
    is_pair = isinstance(block_shape, tuple | list) and len(block_shape) == 2
    if not is_pair or not all(map(is_positive_integer, block_shape)):
        raise ValueError(
            "`block_shape` must be None or two positive integers (in, out); other structures are "
            f"given as `structure`. {received(block_shape=block_shape)}"
        )
    in_, out = block_shape
    return ChannelPairs() if in_ == out == 1 else Blocks(in_, out)
