"""SparseLayer: a layer with masks whose products are computed by whom ``choose`` says."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse._keras import (
    eager_scope,
    host_scope,
    is_in_training,
    is_sparse,
    to_numpy,
)
from keras_sparse.compute.choice import Choice, check_implementation, choose, choose_or_raise
from keras_sparse.compute.layer_masks import LayerWithMasks
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product, promoted, sizes_of, static_shape
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure


class SparseLayer(LayerWithMasks):
    """A Keras layer with a mask on its kernel, whose product may skip the missing weights.

    A subclass says which ``Product`` a layer of its kind computes (``product_of``), and how the
    Keras layer computes it (``_stock``). Where the inputs are not yet the operands of that product
    it says how they become them (``_on``, ``_call_custom_op``).

    Args:
        *args: the Keras layer's.
        implementation: ``"auto"``: the custom op where it is faster, else the stock operation;
            ``"custom_op"`` or ``"stock"``.
        block_shape: (in, out) channels of the blocks that the mask is made of, over all taps; None:
            single weights, or the optimizer's structure.
        structure: what the mask is made of, in place of ``block_shape``:
            ``keras_sparse.Blocks(4, 4, per_tap=True)``.
        **kwargs: the Keras layer's.
    """

    def __init__(
        self,
        *args: Any,
        implementation: str = "auto",
        block_shape: BlockShape = None,
        structure: Structure | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.configure(implementation, as_structure(block_shape, structure))

    def configure(self, implementation: str, structure: Structure) -> None:
        """Sets what a sparse layer has beside a Keras layer.

        ``sparsify`` calls it on copies of Keras layers, built or not.
        """
        check_implementation(implementation)
        self.implementation = implementation
        self._refuse("lora_rank")
        self._refuse("quantization_mode")
        self._structure = structure
        if self.built:
            self._make_masks()
        reason = self._static_reason()
        if implementation == "custom_op" and reason is not None:
            raise ValueError(
                f'This layer cannot run the custom op: {reason}. Pass implementation="auto". '
                f"Received: implementation={implementation!r}"
            )
        # XLA would put the stock operation in the custom op's place.
        self.supports_jit = reason is not None

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.built = True
        self._make_masks()
        self.supports_jit = self._static_reason() is not None

    # --- who computes

    def why_stock(
        self, input_shape: Any = None, weight: str | None = None, training: bool = True
    ) -> str | None:
        """Why the stock operation computes this layer at the mask's density; None: it does not.

        Args:
            input_shape: shape of the inputs, batch included, or a tensor or KerasTensor like
                them: small ones are not worth the custom op. None, for the shape or a size in it:
                very many.
            weight: the masked weight, one of ``masked_weights``. None: the first.
            training: True: in a training step; False: in a prediction, where the custom op is
                faster for few rows, too.
        """
        weight = self._named(weight)
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
        product = self.products_of(self)[self._named(weight)]
        product = dataclasses.replace(product, trains=training and self.trainable)
        if inputs is None or not hasattr(inputs, "shape"):
            return product if inputs is None else self._on(product, inputs)
        dtype = promoted(inputs.dtype, kernel_dtype or product.dtype)
        typed = dataclasses.replace(product, dtype=dtype, has_sparse_inputs=is_sparse(inputs))
        shape = static_shape(inputs)
        return typed if shape is None else self._on(typed, shape)

    def _on(self, product: Product, input_shape: Sequence[Any]) -> Product:
        """The product of inputs of this shape, which is that of the layer's inputs."""
        return product.on(input_shape)

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

    def _compute(self, inputs: Any, weight: str | None = None) -> Any:
        """The product of inputs and a masked weight, by the implementation that is right now."""
        weight = self._named(weight)
        kernel = ops.copy(getattr(self, weight))  # a tensor, read once
        product = self.product(inputs, weight, kernel.dtype, is_in_training())
        share = self.kernel_masks[weight].growth_batch
        product = dataclasses.replace(product, growth_batch=share)

        def stock() -> Any:
            return self._stock(inputs, self._with_masked_gradient(kernel, weight))

        choice = self._choice(product, inputs, weight)
        if not choice.is_stock:
            operands = self._kernel_operands(product, kernel, weight)

        def custom_op() -> Any:
            dense = ops.convert_to_tensor(inputs, sparse=False)
            return self._call_custom_op(product, dense, *operands)

        return choice.run(lambda: self.kernel_masks[weight].mask_density, custom_op, stock)

    def _choice(self, product: Product, inputs: Any, weight: str) -> Choice:
        """Who computes the product of these inputs."""
        checked = choose_or_raise if product.obstacle is None else choose
        choice = checked(product, self.implementation)
        if choice.is_stock or self.implementation == "custom_op":
            return choice
        if not self.trainable:  # no optimizer makes the mask sparser
            frozen = choice.at(self._density_now(weight))
            if frozen.is_stock:
                return frozen
        if product.positions != math.inf:
            return choice
        sizes = sizes_of(inputs)
        on_sizes = product if sizes is None else self._on(product, sizes)
        return choose(on_sizes, self.implementation)

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        """The product as the Keras layer computes it."""
        raise NotImplementedError(f"{type(self).__name__} must say what the Keras layer computes.")

    def _kernel_operands(self, product: Product, kernel: Any, weight: str) -> tuple[Any, Any, Any]:
        """Kernel and mask in the product's shape, and whether missing weights get a gradient.

        They are made before the layer's ``cond``. A branch passes on what its gradient needs, and
        TensorFlow expects the same dtype from the other branch at that place.
        """
        kernel_mask = self.kernel_masks[weight]
        with host_scope():
            is_dense = self._has_dense_gradient(weight)
            wanted = False if is_dense is False else ops.copy(kernel_mask.dense_weight_gradient)
        kernel, mask = (
            tensor
            if tuple(tensor.shape) == product.kernel_shape
            else ops.reshape(tensor, product.kernel_shape)
            for tensor in (kernel, ops.copy(kernel_mask.mask))
        )
        return kernel, mask, wanted

    def _call_custom_op(
        self, product: Product, inputs: Any, kernel: Any, mask: Any, wanted: Any
    ) -> Any:
        """The layer's outputs; a subclass brings the inputs into the product's shape.

        Args:
            product: what is computed.
            inputs: the layer's, a dense tensor.
            kernel: of ``product.kernel_shape``.
            mask: of the same shape.
            wanted: do missing weights get a gradient?
        """
        return call_custom_op(product, inputs, kernel, mask, wanted, self.name)

    # --- in configs and conversions

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "implementation": self.implementation,
            **self.structure.as_arguments(),
        }

    @staticmethod
    def leave(layer: keras.layers.Layer) -> None:
        """Takes away what ``configure`` sets; for a copy that has become a Keras layer."""
        for name in ("implementation", "_structure"):
            delattr(layer, name)
        layer.supports_jit = True
