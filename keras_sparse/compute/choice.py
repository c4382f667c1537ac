"""``choose`` says who computes a product: the one place that chooses.

Operations and layers trace the choice; ``why_stock``, ``runs_as``, ``sparsify`` and the summary
report it. ``"auto"`` means the same everywhere: the custom op where it can run and the mask is not
denser than the density up to which it was measured to be faster.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from keras_sparse.compute.cpu_kernels import CpuKernels
from keras_sparse.compute.gpu_kernels import GpuBlocks, GpuCores
from keras_sparse.compute.implementation import STOCK, Implementation
from keras_sparse.compute.library import why_no_custom_ops
from keras_sparse.compute.product import Product
from keras_sparse.rules.flags import check_word
from keras_sparse.rules.received import received

WANTED = ("auto", "custom_op", "stock")


# The first that is made for a device and a structure is asked; stock computes what it does not.
IMPLEMENTATIONS: tuple[Implementation, ...] = (GpuBlocks(), GpuCores(), CpuKernels(), STOCK)


@dataclasses.dataclass(frozen=True, repr=False)
class Choice:
    """Who computes a product.

    Attributes:
        implementation: that computes masks up to the density ``break_even``; denser ones are stock.
        why: why it is the stock operation; None for the others.
        break_even: a number or a tensor.
        positions: output positions that ``break_even`` depends on.
        measured: the table that ``break_even`` comes from; None if no density was compared.
    """

    implementation: Implementation
    why: str | None = None
    break_even: Any = math.inf
    positions: Any = math.inf
    measured: str | None = None

    def __repr__(self) -> str:
        if self.why is not None:
            text = f"{self.implementation.name}: {self.why}"
        elif self.measured is None:
            text = self.implementation.name
        else:
            text = f"{self.implementation.name} up to density {self.break_even}"
        table = "" if self.measured is None else f"; break-even densities: {self.measured}"
        return f"Choice({text}{table})"

    @property
    def is_stock(self) -> bool:
        """Does the stock operation compute masks of any density?"""
        return self.implementation is STOCK

    def at(self, density: float) -> "Choice":
        """The choice for masks of this density."""
        if self.is_stock or _is_at_most(density, self.break_even):
            return self
        return Choice(STOCK, self._why_stock(density), measured=self.measured)

    def run(
        self, density: Callable[[], Any], custom_op: Callable[[], Any], stock: Callable[[], Any]
    ) -> Any:
        """Computes by one of two functions; in a graph the mask's density decides at run time.

        Args:
            density: returns the mask's density: a number, variable or tensor. Called if needed.
            custom_op: computes the product by ``implementation``.
            stock: computes it by the stock operation.
        """
        is_static = isinstance(self.break_even, int | float)
        if self.is_stock or (is_static and self.break_even <= 0):
            return stock()
        if is_static and self.break_even >= 1:
            return custom_op()
        share = density()
        if is_static and isinstance(share, float):
            return custom_op() if _is_at_most(share, self.break_even) else stock()
        is_worth_it = ops.less_equal(share, self.break_even)
        return ops.cond(is_worth_it, custom_op, stock)

    def _why_stock(self, density: float) -> str:
        if self.break_even <= 0:
            return f"{self.positions} output positions are too few"
        where = "" if math.isinf(self.positions) else f" for {self.positions} output positions"
        return f"density {density:.2f} is above {self.break_even:.2g}{where}"


def choose(product: Product, wanted: str = "auto", density: float | None = None) -> Choice:
    """Who computes this product.

    Args:
        product: what is to be computed.
        wanted: ``"auto"``; ``"custom_op"``: the custom op, even where it is slower; ``"stock"``.
        density: of the mask. None: the choice holds up to a density, its ``break_even``.

    Raises:
        ValueError: another ``wanted``.

    >>> choose(Product("matmul", (512, 512)), wanted="stock")
    Choice(stock: implementation="stock")
    """
    check_implementation(wanted)
    if wanted == "stock":
        return Choice(STOCK, 'implementation="stock"')
    if product.obstacle is not None:
        return Choice(STOCK, product.obstacle)
    kernels = next(one for one in IMPLEMENTATIONS if one.is_for(product))
    if (why := kernels.why_not(product)) is not None:
        return Choice(STOCK, why)
    if wanted == "custom_op":
        return Choice(kernels)
    if (why := kernels.why_slower(product)) is not None:
        return Choice(STOCK, why)
    choice = Choice(
        kernels, None, kernels.break_even(product), product.positions, kernels.measured()
    )
    return choice if density is None else choice.at(density)


def choose_or_raise(product: Product, wanted: str) -> Choice:
    """The same; ValueError where the custom op is asked for and cannot run, with the reason."""
    choice = choose(product, wanted)
    if wanted == "custom_op" and choice.why is not None:
        raise ValueError(
            f'`implementation` must be "auto" or "stock" here: {choice.why}. '
            f"{received(implementation=wanted)}"
        )
    return choice


def measured() -> str | None:
    """Which table the break-even densities of this process come from; None without compiled ops.

    >>> measured()
    'shipped, AMD EPYC (Zen 5)'
    """
    if why_no_custom_ops() is not None:
        return None
    single = Product("matmul", (None, None))
    return next(one for one in IMPLEMENTATIONS if one.is_for(single)).measured()


def check_implementation(implementation: Any) -> None:
    """Raises ValueError unless this is "auto", "custom_op" or "stock"."""
    check_word("implementation", implementation, *WANTED)


def _is_at_most(density: float, break_even: float) -> bool:
    """In float32, as a graph compares them."""
    return bool(np.float32(density) <= np.float32(break_even))
