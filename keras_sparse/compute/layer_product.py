"""LayerWithProduct: a layer with masks that says which products it has, and why stock runs one."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from keras_sparse._keras import eager_scope, is_sparse, to_numpy
from keras_sparse.compute.choice import choose
from keras_sparse.compute.layer_masks import LayerWithMasks
from keras_sparse.compute.product import Product, promoted, static_shape
from keras_sparse.rules.flags import check_flags
from keras_sparse.rules.received import received
from keras_sparse.rules.whole_numbers import is_positive_integer


def _check_shape(shape: Any) -> None:
    """Raises ValueError unless this has a shape, or is one whose sizes may be None."""
    if shape is None or hasattr(shape, "shape"):
        return
    is_shape = isinstance(shape, Sequence) and not isinstance(shape, str) and len(shape) >= 2
    if not is_shape or not all(size is None or is_positive_integer(size) for size in shape):
        raise ValueError(
            "`input_shape` must be a tensor, or the shape of the layer's inputs with the batch: "
            f"two or more positive integers or None. {received(input_shape=shape)}"
        )


class LayerWithProduct(LayerWithMasks):
    """A layer whose masked weights each belong to one ``Product``; ``choose`` says who computes it.

    Attributes:
        implementation: ``"auto"``, ``"custom_op"`` or ``"stock"``.
    """

    implementation: str

    def why_stock(
        self, input_shape: Any = None, weight: str | None = None, training: bool = True
    ) -> str | None:
        """Why the stock operation computes this layer at the mask's density; None: it does not.

        Args:
            input_shape: shape of the inputs, batch included, or a tensor or KerasTensor like
                them: small ones are not worth the custom op. None, for the shape or a size in it:
                very many.
            weight: the masked weight, one of ``masked_weights``. None: the first.
            training: True: in a training step, growth window closed unless it always is open;
                False: in a prediction, where the custom op is faster for few rows, too.

        Raises:
            ValueError: a shape that is none, or ``training`` neither True nor False.
        """
        weight = self._named(weight)
        _check_shape(input_shape)
        check_flags(training=training)
        product = self.product(input_shape, weight, training=training)
        choice = choose(product, self.implementation)
        return choice.why if choice.is_stock else choice.at(self._density_now(weight)).why

    def runs_as(
        self, input_shape: Any = None, weight: str | None = None, training: bool = True
    ) -> str:
        """What computes inputs of this shape now: ``"custom op"``, or ``"stock: "`` and the reason.

        Args:
            input_shape: as for ``why_stock``.
            weight: as for ``why_stock``.
            training: as for ``why_stock``.

        >>> layer = ks.layers.SparseDense(16, implementation="stock")
        >>> layer.build((None, 32))
        >>> layer.runs_as((128, 32))
        'stock: implementation="stock"'
        """
        why = self.why_stock(input_shape, weight, training)
        return "custom op" if why is None else f"stock: {why}"

    @property
    def implementation_used(self) -> str:
        """``"custom_op"`` or ``"stock"``, for large batches and at the mask's present density."""
        return "custom_op" if self.why_stock() is None else "stock"

    @staticmethod
    def product_of(layer: keras.layers.Layer) -> Product:
        """The product of very many inputs with the kernel, of a sparse layer or of its Keras layer.

        Args:
            layer: built or not.
        """
        raise NotImplementedError("A sparse layer must say which product it computes.")

    @classmethod
    def products_of(cls, layer: keras.layers.Layer) -> dict[str, Product]:
        """The same for each of ``masked_weights``, by name."""
        return {cls.masked_weights[0]: cls.product_of(layer)}

    def product(
        self,
        inputs: Any = None,
        weight: str | None = None,
        kernel_dtype: Any = None,
        training: bool = True,
    ) -> Product:
        """The product of these inputs with the kernel, as far as it is known now.

        Args:
            inputs: a tensor, a KerasTensor or a shape; None: very many.
            weight: as for ``why_stock``.
            kernel_dtype: that the call sees its kernel in; None: the layer's compute dtype.
            training: as for ``why_stock``.
        """
        weight = self._named(weight)
        trains = training and self.trainable
        is_dense = not trains or self._is_always_open(weight)
        product = self.products_of(self)[weight]
        product = dataclasses.replace(product, trains=trains, dense_gradient=is_dense)
        if inputs is None or not hasattr(inputs, "shape"):
            return product if inputs is None else self._on(product, inputs)
        dtype = promoted(inputs.dtype, kernel_dtype or product.dtype)
        typed = dataclasses.replace(product, dtype=dtype, has_sparse_inputs=is_sparse(inputs))
        shape = static_shape(inputs)
        return typed if shape is None else self._on(typed, shape)

    def _on(self, product: Product, input_shape: Sequence[Any]) -> Product:
        """The product of inputs of this shape, which is that of the layer's inputs."""
        return product.on(input_shape)

    def _is_always_open(self, weight: str) -> bool:
        """Do missing weights get gradients of whole batches in every training step?"""
        kernel_mask = self.kernel_masks.get(weight)
        if kernel_mask is None or kernel_mask.growth_batch < 1:
            return False
        return kernel_mask.is_always_open

    def _static_reason(self) -> str | None:
        """Why stock operations alone compute this layer at any density and batch, or None."""
        asked = self.implementation
        if asked == "auto" and not self.built:  # the size of its kernel is not known yet
            asked = "custom_op"
        reasons = [choose(self.product(None, name), asked).why for name in self.masked_weights]
        return None if None in reasons else reasons[0]

    def _density_now(self, weight: str) -> float:
        with eager_scope():
            return float(to_numpy(self.kernel_masks[weight].mask_density))
