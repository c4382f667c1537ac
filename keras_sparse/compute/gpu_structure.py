"""What the kernels for GPUs take a mask to be made of."""

import dataclasses
import math

from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.structure import Structure

BLOCKS = (64, 32, 16)  # channels of a block, for which there are kernels


@dataclasses.dataclass(frozen=True)
class KernelStructure:
    """What the kernels for GPUs take a mask to be made of: the attributes of the op.

    Attributes:
        structure: ``"weights"``, ``"channel_pairs"`` or ``"blocks"``.
        block: input and output channels of a block, 0 without blocks.
    """

    structure: str
    block: int = 0

    @property
    def is_blocks(self) -> bool:
        return self.structure == "blocks"


def kernel_structure(structure: Structure) -> KernelStructure:
    """Blocks of the largest square that fits; else pairs of channels, or single weights.

    >>> kernel_structure(Blocks(64, 16))
    KernelStructure(structure='blocks', block=16)
    >>> kernel_structure(Blocks(32, 32, per_tap=True))
    KernelStructure(structure='blocks', block=32)
    >>> kernel_structure(Blocks(1, 8)).structure
    'channel_pairs'
    >>> kernel_structure(Blocks(1, 8, per_tap=True)).structure
    'weights'
    """
    if not isinstance(structure, Blocks):
        return KernelStructure("weights")
    side = math.gcd(structure.in_, structure.out)
    block = next((block for block in BLOCKS if side % block == 0), None)
    if block:
        return KernelStructure("blocks", block)
    return KernelStructure("weights" if structure.per_tap else "channel_pairs")
