"""LayerWithChoice: who computes a layer's products in the step that is traced now."""

import math
from typing import Any

from keras import ops

from keras_sparse._keras import is_in_training
from keras_sparse.compute.choice import Choice, choose, choose_or_raise
from keras_sparse.compute.cpu_kernels import MOST_ROWS, CpuKernels
from keras_sparse.compute.gpu_kernels import GpuKernels, has_gpu
from keras_sparse.compute.layer_product import LayerWithProduct
from keras_sparse.compute.product import Product, sizes_of, static_shape


class LayerWithChoice(LayerWithProduct):
    """A layer that asks ``choose`` for each product, and says by which density it is chosen.

    On CPUs a graph chooses in each step. On GPUs a condition in a step waits for the GPU, so the
    choice is made when the step is traced.
    """

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
        if shape is None or shape[0] is not None or None in shape[1:]:
            return None
        of_one = self._on(product, (1, *shape[1:]))
        least = choose(of_one, self.implementation)
        is_on_cpu = isinstance(least.implementation, CpuKernels)
        if not is_on_cpu or of_one.positions <= MOST_ROWS or least.at(density).is_stock:
            return None
        return Choice(least.implementation)

    def _density_to_choose_by(self, weight: str, choice: Choice) -> Any:
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
            limit = choice.break_even
            kernel_mask.traced_break_even = limit if isinstance(limit, int | float) else None
        return density

    def _skips_others(self) -> bool:
        return self.implementation == "custom_op" or has_gpu() or not self.trainable

    def chooses_otherwise(self) -> bool:
        """On GPUs: would a training step that is traced now be computed by others?"""
        return any(map(self._has_passed, self.kernel_masks))

    def _has_passed(self, weight: str) -> bool:
        product, kernel_mask = self.product(None, weight), self.kernel_masks[weight]
        kernels = choose(product, self.implementation).implementation
        if kernel_mask.traced_density is None or not isinstance(kernels, GpuKernels):
            return False
        densities = kernel_mask.traced_density, self._density_now(weight)
        return kernels.has_passed(product, *densities, kernel_mask.traced_break_even)

    def _wants_dense_gradient(self, weight: str) -> Any:
        """Do missing weights get a gradient?  A bool, or a tensor that each step reads."""
        is_dense, kernel_mask = self._has_dense_gradient(weight), self.kernel_masks[weight]
        if is_dense is True and has_gpu() and kernel_mask.is_always_open:
            return True  # cuDNN computes all weights' gradients faster than our kernels do
        return False if is_dense is False else ops.copy(kernel_mask.dense_weight_gradient)
