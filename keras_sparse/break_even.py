"""Up to which density is a custom op faster than the stock operation?  One table (NumPy only).

What a weight costs is the same for few output positions as for many, what it saves is not: so the density falls with them.
Fitted to ``benchmarks/conv_ops.py --densities 0.6 0.5 0.4 0.3 0.2 0.1 0.05 0.02`` on an AMD Zen 5 with AVX-512, one thread,
2026-11-23, so that none of its layers and batches is slower than stock.
"""

import math
from typing import Any

DENSITY_OF_MANY = {"convolution": 0.55, "1x1 convolution": 0.45, "matmul": 0.5}  # for very many output positions
HALF_OF_IT_AT = 128  # output positions, batch * height * width
FEWEST_CHANNELS = 16  # with fewer input or output channels the stock operation wins at any density


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
    return f"fewer than {FEWEST_CHANNELS} channels" if min(shape[-2:]) < FEWEST_CHANNELS else None


def largest_density(shape: tuple[int, ...], positions: Any) -> Any:
    """The density up to which the custom op wins, forward and backward together.

    Args:
        shape: of the kernel.
        positions: outputs of one channel in a batch: batch * height * width, or the rows of a matrix; a number, a
            float tensor, or infinity.

    >>> largest_density((3, 3, 64, 64), 128), round(largest_density((1024, 1024), 8), 3)
    (0.275, 0.029)
    """
    many = DENSITY_OF_MANY[kind_of(shape)]
    return many if positions is math.inf else many * positions / (positions + HALF_OF_IT_AT)
