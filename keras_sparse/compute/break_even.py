"""The density up to which a custom op is faster than the stock operation: one table (NumPy only).

A call and each weight cost the same for few output positions as for many, and save less: so the density falls with them.
Fitted to ``benchmarks/break_even.py`` on an AMD Zen 5 with AVX-512, one thread, 2026-11-25: 20 layers, batch 1 to 128,
density 0.5 to 0.02, the product alone and with both gradients. These two differ little but for the smallest products,
whose cost of a call was read off whole models: the formula follows the lower one.
"""

import math
from typing import Any

BREAK_EVEN_DENSITY = {
    "convolution": 0.55,
    "1x1 convolution": 0.45,
    "matmul": 0.5,
}  # for very many output positions
HALF_BREAK_EVEN_POSITIONS = {
    "convolution": 40,
    "1x1 convolution": 50,
    "matmul": 180,
}  # batch * height * width
CALL_MULTIPLY_ADDS = 2e6  # dense ones in the time that a call costs
MIN_MULTIPLY_ADDS = (
    4e6  # with fewer dense ones nothing is gained that the choice itself, in a graph, does not cost
)
MIN_CHANNELS = 16  # with fewer input or output channels the stock operation wins at any density


def kind_of(shape: tuple[int, ...]) -> str:
    """The row of the table for a kernel of this shape: (in, out) or (height, width, in, out).

    >>> kind_of((3, 3, 16, 32)), kind_of((1, 1, 16, 32)), kind_of((64, 10))
    ('convolution', '1x1 convolution', 'matmul')
    """
    if len(shape) == 2:
        return "matmul"
    return "convolution" if math.prod(shape[:-2]) > 1 else "1x1 convolution"


def why_too_small(shape: tuple[int, ...]) -> str | None:
    """Why a kernel of this shape is never worth the custom op, or None.

    >>> why_too_small((3, 3, 3, 64))
    'fewer than 16 channels'
    """
    return f"fewer than {MIN_CHANNELS} channels" if min(shape[-2:]) < MIN_CHANNELS else None


def fewest_positions(shape: tuple[int, ...]) -> float:
    """The output positions from which on a kernel of this shape may be worth the custom op.

    >>> fewest_positions((1000, 1000)), fewest_positions((3, 3, 16, 16)) > 1024
    (4.0, True)
    """
    return MIN_MULTIPLY_ADDS / math.prod(shape)


def largest_density(shape: tuple[int, ...], positions: Any) -> Any:
    """The density up to which the custom op wins; below 0 where it never does.

    Args:
        shape: of the kernel.
        positions: outputs of one channel in a batch: batch * height * width, or the rows of a matrix; a number, a
            float tensor, or infinity.

    >>> round(largest_density((3, 3, 64, 64), 256), 3), round(largest_density((1024, 1024), 128), 3)
    (0.375, 0.205)
    """
    kind = kind_of(shape)
    if isinstance(positions, float) and math.isinf(positions):
        return BREAK_EVEN_DENSITY[kind]
    free = max(1, CALL_MULTIPLY_ADDS / math.prod(shape))  # positions that a call costs
    return (
        BREAK_EVEN_DENSITY[kind]
        * (positions - free)
        / (positions + HALF_BREAK_EVEN_POSITIONS[kind])
    )
