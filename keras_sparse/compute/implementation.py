"""An ``Implementation`` computes products with masked kernels; ``STOCK`` is that of Keras."""

import math
from typing import Any, Protocol

from keras_sparse.compute.product import Product


class Implementation(Protocol):
    """Something that computes products with masked kernels."""

    name: str

    def is_for(self, product: Product) -> bool:
        """Is it made for this device and this structure of masks?"""

    def why_not(self, product: Product) -> str | None:
        """Why it cannot compute the product, or None."""

    def why_slower(self, product: Product) -> str | None:
        """Why it is never faster than stock, whatever the density and the batch; or None."""

    def break_even(self, product: Product) -> Any:
        """The density up to which it is faster than stock: a number, or a tensor."""

    def measured(self) -> str | None:
        """Which table the break-even densities come from."""


class Stock:
    """The operation of Keras, which computes everything."""

    name = "stock"

    def is_for(self, product: Product) -> bool:
        return True

    def why_not(self, product: Product) -> str | None:
        return None

    def why_slower(self, product: Product) -> str | None:
        return None

    def break_even(self, product: Product) -> Any:
        return math.inf

    def measured(self) -> str | None:
        return None


STOCK = Stock()
