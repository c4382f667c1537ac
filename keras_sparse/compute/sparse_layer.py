"""SparseLayer: a layer with masks whose products are computed by whom ``choose`` says."""

import dataclasses
import math
from typing import Any

import keras
from keras import ops

from keras_sparse._keras import is_in_training
from keras_sparse.compute.choice import Choice, check_implementation, choose, choose_or_raise
from keras_sparse.compute.cpu_kernels import MOST_ROWS, CpuKernels
from keras_sparse.compute.gpu_kernels import GpuKernels, has_gpu
from keras_sparse.compute.layer_product import LayerWithProduct
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product, sizes_of, static_shape
from keras_sparse.rules.structure import BlockShape, Structure
from keras_sparse.rules.structure_arguments import as_structure


class SparseLayer(LayerWithProduct):
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
                f"Received: implementation={implementation!r}"
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

        def stock() -> Any:
            return self._stock(inputs, self._with_masked_gradient(kernel, weight))

        choice = self._choice(product, inputs, weight)
        if choice.is_stock:
            return stock()
        operands = self._kernel_operands(product, kernel, weight)

        def custom_op() -> Any:
            dense = ops.convert_to_tensor(inputs, sparse=False)
            return self._call_custom_op(product, dense, *operands)

        return choice.run(
            lambda: self._density_to_choose_by(weight),
            custom_op,
            lambda: self._in_product_axes(stock()),
        )

    def _density_to_choose_by(self, weight: str) -> Any:
        """The mask's density: a variable, so that a graph chooses anew in each step.

        On GPUs a float: a condition would wait for the GPU, so the step is traced for this density.
        But a mask that no optimizer has made may get its density while its first step is traced.
        """
        kernel_mask, trains = self.kernel_masks[weight], is_in_training()
        if not has_gpu() or (trains and not kernel_mask.was_managed()):
            return kernel_mask.mask_density
        density = self._density_now(weight)
        if trains:
            kernel_mask.traced_density = density
        return density

    def chooses_otherwise(self) -> bool:
        """On GPUs: would a training step that is traced now be computed by others?"""
        return any(map(self._has_passed, self.kernel_masks))

    def _has_passed(self, weight: str) -> bool:
        product, traced = self.product(None, weight), self.kernel_masks[weight].traced_density
        kernels = choose(product, self.implementation).implementation
        if traced is None or not isinstance(kernels, GpuKernels):
            return False
        return kernels.has_passed(product, traced, self._density_now(weight))

    def _choice(self, product: Product, inputs: Any, weight: str) -> Choice:
        """Who computes the product of these inputs."""
        checked = choose_or_raise if product.obstacle is None else choose
        choice = checked(product, self.implementation)
        if choice.is_stock or self.implementation == "custom_op":
            return choice
        if not self.trainable:  # no optimizer makes the mask sparser
            density = self._density_now(weight)
            frozen = choice.at(density)
            if frozen.is_stock:
                return frozen
            if (always := self._at_any_batch(product, inputs, density)) is not None:
                return always
        if product.positions != math.inf:
            return choice
        sizes = sizes_of(inputs)
        on_sizes = product if sizes is None else self._on(product, sizes)
        return choose(on_sizes, self.implementation)

    def _at_any_batch(self, product: Product, inputs: Any, density: float) -> Choice | None:
        """The choice for a batch of unknown size, where it is the custom op even for one example.

        More positions never speak for the stock operation, once they are more than a few rows.
        """
        shape = static_shape(inputs)
        if shape is None or not shape or shape[0] is not None or None in shape[1:]:
            return None
        of_one = self._on(product, (1, *shape[1:]))
        least = choose(of_one, self.implementation)
        is_on_cpu = isinstance(least.implementation, CpuKernels)
        if not is_on_cpu or of_one.positions <= MOST_ROWS or least.at(density).is_stock:
            return None
        return Choice(least.implementation)

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        """The product as the Keras layer computes it."""
        raise NotImplementedError(f"{type(self).__name__} must say what the Keras layer computes.")

    def _kernel_operands(self, product: Product, kernel: Any, weight: str) -> tuple[Any, Any, Any]:
        """Kernel and mask in the product's shape, and whether missing weights get a gradient.

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
        return kernel, mask, self._wants_dense_gradient(weight)

    def _wants_dense_gradient(self, weight: str) -> Any:
        """Do missing weights get a gradient?  A bool, or a tensor that each step reads."""
        is_dense, kernel_mask = self._has_dense_gradient(weight), self.kernel_masks[weight]
        if is_dense is True and has_gpu() and kernel_mask.is_always_open:
            return True  # cuDNN computes all weights' gradients faster than our kernels do
        return False if is_dense is False else ops.copy(kernel_mask.dense_weight_gradient)

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
