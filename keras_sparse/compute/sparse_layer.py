"""SparseLayer: a layer with masks whose products are computed by whom ``choose`` says."""

import dataclasses
import functools
from typing import Any

import keras
from keras import ops

from keras_sparse._keras import is_in_training
from keras_sparse.compute.choice import check_implementation
from keras_sparse.compute.gpu_kernels import has_gpu
from keras_sparse.compute.layer_choice import LayerWithChoice
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product
from keras_sparse.rules.received import received
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure


class SparseLayer(LayerWithChoice):
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
                f'This layer cannot run the custom op: {reason}. Pass implementation="auto", '
                "or the `structure` of its masks. "
                f"{received(implementation=implementation)}"
            )
        self._set_supports_jit(reason)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.built = True
        self._make_masks()
        self._set_supports_jit(self._static_reason())

    def _set_supports_jit(self, why_stock: str | None) -> None:
        """XLA calls the custom op on GPUs, and has the stock operation in its place elsewhere."""
        self.supports_jit = why_stock is not None or has_gpu()

    # --- who computes

    def _compute(self, inputs: Any, weight: str | None = None) -> Any:
        """The product of inputs and a masked weight, by the implementation that is right now.

        It has the outputs' axes, or those that ``_in_product_axes`` gives.
        """
        weight = self._named(weight)
        kernel = ops.copy(getattr(self, weight))  # a tensor, read once
        product = self.product(inputs, weight, kernel.dtype, is_in_training())
        share = self.kernel_masks[weight].growth_batch
        product = dataclasses.replace(product, growth_batch=share)
        wanted = functools.partial(self._wants_dense_gradient, weight)
        if not product.dense_gradient and share == 1:  # a part of a batch costs much less
            product = dataclasses.replace(product, dense_gradient=wanted)

        def stock() -> Any:
            return self._stock(inputs, self._with_masked_gradient(kernel, weight))

        choice = self._choice(product, inputs, weight)
        if choice.is_stock:
            return stock()
        operands = *self._kernel_operands(product, kernel, weight), wanted()

        def custom_op() -> Any:
            dense = ops.convert_to_tensor(inputs, sparse=False)
            return self._call_custom_op(product, dense, *operands)

        return choice.run(
            lambda: self._density_to_choose_by(weight, choice),
            custom_op,
            lambda: self._in_product_axes(stock()),
        )

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        """The product as the Keras layer computes it."""
        raise NotImplementedError(f"{type(self).__name__} must say what the Keras layer computes.")

    def _kernel_operands(self, product: Product, kernel: Any, weight: str) -> tuple[Any, Any]:
        """Kernel and mask in the product's shape.

        They are made before the layer's ``cond``. A branch passes on what its gradient needs, and
        TensorFlow expects the same dtype from the other branch at that place.
        """
        kernel_mask = self.kernel_masks[weight]
        kernel, mask = (
            tensor
            if tuple(tensor.shape) == product.kernel_shape
            else ops.reshape(tensor, product.kernel_shape)
            for tensor in (kernel, ops.copy(kernel_mask.mask))
        )
        return kernel, mask

    def _in_product_axes(self, outputs: Any) -> Any:
        """The layer's outputs with the axes that ``_call_custom_op`` gives."""
        return outputs

    def _call_custom_op(
        self, product: Product, inputs: Any, kernel: Any, mask: Any, wanted: Any
    ) -> Any:
        """The product; a subclass brings the inputs into its shape.

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
