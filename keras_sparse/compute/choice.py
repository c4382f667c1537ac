"""Who computes a product with a mask: the custom op up to a density that depends on its sizes, else the stock operation.

Layers trace what ``choose`` says, and ``why_stock``, ``runs_as`` and the summary report it.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.compute.break_even import fewest_positions, largest_density, why_too_small
from keras_sparse.compute.gpu import has_gpu, largest_density_on_gpu, why_not_faster
from keras_sparse.rules.blocks import BlockShape


@dataclasses.dataclass(frozen=True)
class Product:
    """A convolution or matrix product, as far as it is known when traced.

    Attributes:
        kernel_shape: (in, out) or (height, width, in, out).
        dtype: of inputs and kernel.
        block_shape: (in, out) channels of the mask's blocks, None for single weights.
        positions: outputs of one channel in a batch (batch * height * width, or rows): a number, a tensor, or infinity.
    """

    kernel_shape: tuple[int, ...]
    dtype: str
    block_shape: BlockShape
    positions: Any


@dataclasses.dataclass(frozen=True)
class Choice:
    """The custom op computes densities up to ``break_even``, a number or a tensor; where ``never`` says why, none."""

    break_even: Any
    never: str | None = None
    positions: Any = None  # that the break-even density depends on

    def why_stock(self, density: float) -> str | None:
        """Why the stock operation computes a mask of this density, or None where the custom op does."""
        if self.never is not None or np.float32(density) <= np.float32(
            self.break_even
        ):  # as in a graph
            return self.never
        if self.break_even <= 0:
            return f"{self.positions} output positions are too few"
        return f"density {density:.2f} is above {self.break_even:.2g}{self._at()}"

    def _at(self) -> str:
        return (
            "" if self.positions in (None, math.inf) else f" for {self.positions} output positions"
        )


def choose(product: Product) -> Choice:
    """Who computes this product.

    >>> choose(Product((3, 3, 64, 64), "float32", None, positions=16)).never is None
    True
    """
    shape = product.kernel_shape
    if has_gpu():
        limit = largest_density_on_gpu(shape, product.dtype, product.block_shape)
        return Choice(limit, why_not_faster(shape, product.dtype, product.block_shape))
    if (small := why_too_small(shape)) is not None:
        return Choice(0.0, small)
    limit, positions, fewest = (
        largest_density(shape, product.positions),
        product.positions,
        fewest_positions(shape),
    )
    if ops.is_tensor(positions):
        limit = ops.where(positions >= fewest, limit, 0.0)
    elif positions < fewest:
        limit = 0.0
    return Choice(limit, positions=positions)
