"""LayerWithMasks: a Keras layer that holds the masks of its kernels."""

from typing import Any, ClassVar

import keras
import numpy as np

from keras_sparse._keras import model_in_train_step
from keras_sparse.compute.mask_owner import mask_owners_inside, mask_owners_of
from keras_sparse.compute.mask_state import KernelMask
from keras_sparse.compute.masked_gradient import with_masked_gradient
from keras_sparse.rules.received import received
from keras_sparse.rules.structure import BlockShape, Structure

DENSIFY = "Call `keras_sparse.densify(model)` first."


class LayerWithMasks(keras.layers.Layer):
    """A Keras layer with a mask for each of its masked weights.

    Attributes:
        masked_weights: names of the attributes that have masks; the first is the default.
    """

    masked_weights: ClassVar[tuple[str, ...]] = ("kernel",)
    _structure: Structure  # before the masks are made

    def _make_masks(self) -> None:
        for weight, name in zip(self.masked_weights, self.mask_attributes(), strict=True):
            mask = KernelMask(getattr(self, weight), self._structure, self._skips_others)
            setattr(self, name, mask)

    def _skips_others(self) -> bool:
        """Do products skip weights that the mask does not have, at any density?"""
        return False

    @property
    def structure(self) -> Structure:
        """What the mask is made of: the optimizer's structure where one masks the kernel."""
        return self.kernel_mask.structure if self.built else self._structure

    @property
    def block_shape(self) -> BlockShape:
        """(in, out) channels of the mask's blocks over all taps; None: any other ``structure``."""
        return self.structure.block_shape

    @property
    def variables(self) -> list[Any]:
        """The weights, and after them the variables of the masks, which are no weights."""
        masks = self.kernel_masks.values()
        return super().variables + [variable for one in masks for variable in one.variables]

    @property
    def kernel_masks(self) -> dict[str, KernelMask]:
        """{name of a masked weight: its KernelMask}, in the weights' order; {} before build."""
        names = zip(self.masked_weights, self.mask_attributes(), strict=True)
        return {weight: getattr(self, name) for weight, name in names if hasattr(self, name)}

    @classmethod
    def mask_attributes(cls) -> list[str]:
        """The attributes with the KernelMasks of ``masked_weights``, which files name them by."""
        return ["kernel_mask", *(f"{weight}_mask" for weight in cls.masked_weights[1:])]

    @property
    def mask(self) -> Any:
        """Bool variable of the kernel's shape, True = active.

        ``set_mask`` or an optimizer replaces it.
        """
        return self.kernel_mask.mask

    @property
    def dense_weight_gradient(self) -> Any:
        """Bool scalar variable: do missing weights get a gradient?

        Without a SparseMomentum they get none and stay 0.
        """
        return self.kernel_mask.dense_weight_gradient

    def set_mask(self, mask: np.ndarray, weight: str | None = None) -> None:
        """Replaces the mask by a bool array of the kernel's shape, and sets missing weights to 0.

        Where an optimizer masks the kernel use its ``set_masks``.

        Args:
            mask: True = active.
            weight: the masked weight, one of ``masked_weights``. None: the first.

        Raises:
            ValueError: another dtype or shape, an unknown ``weight``, or a layer without weights.
        """
        named = self._named(weight)
        if not self.kernel_masks:
            raise ValueError(
                "The layer must be built before it has a mask: call it on a batch. "
                f"Received: layer={getattr(self, 'name', self)!r}, not built"
            )
        kernel_mask = self.kernel_masks[named]
        kernel_mask.assign(mask)
        kernel_mask.mask_kernel()

    def _named(self, weight: str | None) -> str:
        if weight is not None and weight not in self.masked_weights:
            raise ValueError(
                f"`weight` must be one of {self.masked_weights}. {received(weight=weight)}"
            )
        return weight or self.masked_weights[0]

    def _with_masked_gradient(self, kernel: Any, weight: str) -> Any:
        """The values of a kernel, with the gradient that its missing weights get."""
        is_dense = self._has_dense_gradient(weight)
        if is_dense is True:
            return kernel
        return with_masked_gradient(kernel, self.kernel_masks[weight].mask, is_dense)

    def _has_dense_gradient(self, weight: str) -> Any:
        """Do missing weights get a gradient?

        True where the step that is traced now ends in the optimizer that masks them. False in the
        step of a model that is trained without a SparseMomentum, after one. Else the switch, a
        variable. False in a frozen layer.
        """
        if not self.trainable:
            return False
        kernel, kernel_mask = getattr(self, weight), self.kernel_masks[weight]
        model = model_in_train_step()
        if model is not None:
            optimizers = mask_owners_inside(model.optimizer)
            if any(
                variable is kernel
                for optimizer in optimizers
                for variable in optimizer.masked_variables
            ):
                return True
            if kernel_mask.was_managed() and not mask_owners_of(model):
                return False
        return kernel_mask.dense_weight_gradient

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        """Raises NotImplementedError: updates of low rank have no mask."""
        raise NotImplementedError(
            f"LoRA would train what the mask leaves out. {DENSIFY} Received: layer {self.name}"
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Raises NotImplementedError: quantize the densified model."""
        raise NotImplementedError(
            f"A sparse layer cannot be quantized. {DENSIFY} Received: layer {self.name}"
        )

    def _refuse(self, argument: str) -> None:
        value = getattr(self, argument, None)
        if value:
            raise ValueError(
                f"`{argument}` must be None: a sparse layer has neither LoRA nor quantized "
                f"weights. {received(**{argument: value})}"
            )
