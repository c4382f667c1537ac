"""SparseConv2D and SparseDense: Keras' layers that know their masks and skip missing weights."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_sparse._keras import (
    NamedInFiles,
    eager_scope,
    host_scope,
    is_sparse,
    model_in_train_step,
    to_numpy,
)
from keras_sparse.compute import ops as sparse_ops
from keras_sparse.compute.choice import Choice, Product, choose
from keras_sparse.compute.mask_owner import mask_owners_inside, mask_owners_of
from keras_sparse.compute.mask_state import KernelMask
from keras_sparse.compute.masked_gradient import with_masked_gradient
from keras_sparse.compute.normalization import FusedBatchNormalization
from keras_sparse.rules.blocks import BlockShape, check_block_shape

__all__ = ["FusedBatchNormalization", "SparseConv2D", "SparseDense", "SparseLayer"]

IMPLEMENTATIONS = ("auto", "custom_op", "stock")
DENSIFY = "Call `keras_sparse.densify(model)` first."


class SparseLayer(keras.layers.Layer):
    """What SparseConv2D and SparseDense have in common: the mask, and the choice of who computes.

    Args:
        *args: of the Keras layer.
        implementation: ``"auto"``: the custom op where it is faster, else the stock operation; ``"custom_op"`` or ``"stock"``.
        block_shape: (in, out) channels of the blocks that the mask is made of; None: single weights, or what the optimizer says.
        **kwargs: of the Keras layer.
    """

    def __init__(
        self,
        *args: Any,
        implementation: str = "auto",
        block_shape: BlockShape = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.configure(implementation, block_shape)

    def configure(self, implementation: str, block_shape: BlockShape) -> None:
        """Sets what a sparse layer has beside a Keras layer; ``sparsify`` calls it on copies of Keras layers, built or not."""
        if implementation not in IMPLEMENTATIONS:
            raise ValueError(
                f"`implementation` must be one of {IMPLEMENTATIONS}. Received: implementation={implementation!r}"
            )
        self.implementation = implementation
        self._refuse("lora_rank")
        self._refuse("quantization_mode")
        self._block_shape = check_block_shape(block_shape)
        if self.built:
            self.kernel_mask = KernelMask(self.kernel, self._block_shape)
        never = self._why_never()
        if implementation == "custom_op" and never is not None:
            raise ValueError(
                f'This layer cannot run the custom op: {never}. Pass implementation="auto". Received: implementation={implementation!r}'
            )
        self.supports_jit = (
            never is not None
        )  # XLA would put the stock operation in the custom op's place

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        self.kernel_mask = KernelMask(self.kernel, self._block_shape)
        self.supports_jit = self._why_never() is not None

    @property
    def block_shape(self) -> BlockShape:
        """(in, out) channels of the blocks that the mask is made of, the optimizer's where it has one; None: single weights."""
        return self.kernel_mask.block_shape if self.built else self._block_shape

    @property
    def variables(self) -> list[Any]:
        """The weights, and after them the mask and its switches, which are no weights."""
        return super().variables + (self.kernel_mask.variables if self.built else [])

    # --- the mask

    @property
    def mask(self) -> Any:
        """Bool variable of the kernel's shape, True = active; replaced by ``set_mask`` or an optimizer."""
        return self.kernel_mask.mask

    @property
    def dense_weight_gradient(self) -> Any:
        """Bool scalar variable: do missing weights get a gradient?  Without a SparseMomentum they get none and stay."""
        return self.kernel_mask.dense_weight_gradient

    def set_mask(self, mask: np.ndarray) -> None:
        """Replaces the mask by a bool array of the kernel's shape, and sets missing weights to 0.

        Where an optimizer masks the kernel use its ``set_masks``.
        """
        self.kernel_mask.assign(mask)
        self.kernel_mask.mask_kernel()

    # --- who computes

    def why_stock(self, input_shape: Sequence[int | None] | None = None) -> str | None:
        """Why the stock operation computes this layer, at the mask's present density; None where the custom op does.

        Args:
            input_shape: shape of the inputs, batch included: small ones are not worth the custom op. None, for the
                shape or a size in it: very many.
        """
        if self._is_settled():
            return self._why_never()
        with eager_scope():
            density = float(to_numpy(self.kernel_mask.mask_density))
        return self._choice(input_shape).why_stock(density)

    def runs_as(self, input_shape: Sequence[int | None] | None = None) -> str:
        """What computes inputs of this shape now: ``"custom op"``, or ``"stock: "`` and the reason.

        Args:
            input_shape: as for ``why_stock``.

        >>> layer = SparseDense(16, implementation="stock")
        >>> layer.build((None, 32))
        >>> layer.runs_as((128, 32))
        'stock: implementation="stock"'
        """
        why = self.why_stock(input_shape)
        return "custom op" if why is None else f"stock: {why}"

    @property
    def implementation_used(self) -> str:
        """``"custom_op"`` or ``"stock"``, for large batches and at the mask's present density."""
        return "custom_op" if self.why_stock() is None else "stock"

    def _is_settled(self) -> bool:
        """Does one implementation compute this layer, whatever the density of its mask?"""
        return self.implementation != "auto" or self._why_never() is not None

    def _why_never(self) -> str | None:
        """Why the custom op can never compute this layer, whatever the density, or None."""
        why = (
            'implementation="stock"'
            if self.implementation == "stock"
            else self._why_not_this_layer()
        )
        if why is not None or self.implementation != "auto" or not self.built:
            return why
        return self._choice().never

    def _why_not_this_layer(self) -> str | None:
        raise NotImplementedError(f"{type(self).__name__} must say what the custom op does not do.")

    def _choice(self, input_shape: Sequence[Any] | None = None) -> Choice:
        """Up to which density the custom op computes inputs of this shape: numbers, tensors, or None for very many."""
        positions = math.inf
        if input_shape is not None:
            positions = math.prod(
                math.inf if size is None else size for size in self._output_sizes(input_shape)
            )
        return choose(
            Product(self.kernel_mask.shape, self.compute_dtype, self.block_shape, positions)
        )

    def _output_sizes(self, input_shape: Sequence[Any]) -> list[Any]:
        """Batch and other sizes of the outputs, without their channels."""
        return list(input_shape[:-1])

    def _compute(self, inputs: Any, kernel: Any) -> Any:
        """The product of inputs and kernel, by the implementation that is right now."""
        kernel = ops.copy(kernel)  # a tensor, read once

        def stock() -> Any:
            is_dense = self._has_dense_gradient()
            return self._stock(
                inputs,
                kernel if is_dense is True else with_masked_gradient(kernel, self.mask, is_dense),
            )

        def custom_op() -> Any:
            return self._custom_op(inputs, kernel)

        if self._is_settled():
            return custom_op() if self.implementation == "custom_op" else stock()
        if is_sparse(inputs) or not _keeps_kernel_dtype(inputs, kernel):
            return stock()
        sizes = [ops.cast(n, "float32") if ops.is_tensor(n) else n for n in ops.shape(inputs)]
        largest = self._choice(sizes).break_even
        if not ops.is_tensor(largest) and largest <= 0:
            return stock()
        if (
            not self.trainable and self.why_stock() is not None
        ):  # no optimizer makes the mask sparser
            return stock()
        with host_scope():
            is_worth_it = ops.less_equal(
                self.kernel_mask.mask_density, largest
            )  # at run time: no retracing when masks change
        return ops.cond(is_worth_it, custom_op, stock)

    def _has_dense_gradient(self) -> Any:
        """Do missing weights get a gradient?  True where the step that is traced now ends in the optimizer that masks them.

        False in the step of a model that is trained without a SparseMomentum, after one; else the switch, a variable.
        """
        model = model_in_train_step()
        if model is not None:
            optimizers = mask_owners_inside(model.optimizer)
            if any(
                variable is self.kernel
                for optimizer in optimizers
                for variable in optimizer.masked_variables
            ):
                return True
            if self.kernel_mask.was_managed() and not mask_owners_of(model):
                return False
        return self.dense_weight_gradient

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        """The product as the Keras layer computes it."""
        raise NotImplementedError(f"{type(self).__name__} must say what the Keras layer computes.")

    def _custom_op(self, inputs: Any, kernel: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must call its custom op.")

    def _op_options(self) -> dict[str, Any]:
        """What all functions of ``keras_sparse.ops`` are told by a layer that runs the custom op."""
        with host_scope():
            wanted = (
                False
                if self._has_dense_gradient() is False
                else ops.copy(self.dense_weight_gradient)
            )
        return {
            "dense_weight_gradient": wanted,
            "implementation": "custom_op",
            "name": self.name,
            "block_shape": self.block_shape,
        }

    # --- as a Keras layer

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "implementation": self.implementation,
            "block_shape": self.block_shape,
        }

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"LoRA would train what the mask has left out. {DENSIFY} Received: layer {self.name}"
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"A sparse layer cannot be quantized. {DENSIFY} Received: layer {self.name}"
        )

    def _refuse(self, argument: str) -> None:
        value = getattr(self, argument, None)
        if value:
            raise ValueError(
                f"`{argument}` must be None: a sparse layer has neither LoRA nor quantized weights. Received: {argument}={value}"
            )


def _keeps_kernel_dtype(inputs: Any, kernel: Any) -> bool:
    """Is the product of these inputs computed in the dtype of the kernel?"""
    dtype = keras.backend.standardize_dtype(kernel.dtype)
    return bool(keras.backend.result_type(inputs.dtype, dtype) == dtype)


@keras.saving.register_keras_serializable("keras_sparse", name="SparseConv2D")
class SparseConv2D(
    SparseLayer, keras.layers.Conv2D, metaclass=NamedInFiles, name_in_files="Conv2D"
):
    """keras.layers.Conv2D that skips its missing weights: arguments, weights, names and weight files are the same.

    A SparseMomentum optimizer takes the layer's mask for its own. Without one the mask is True everywhere until it is
    loaded or set; weights with zeros that come without a mask bring the mask of their nonzeros. Missing weights are 0 in
    the kernel and get no gradient.

    Args:
        *args: those of keras.layers.Conv2D.
        implementation: ``"auto"``: the custom op where it is faster at the mask's density, else the stock operation;
            ``"custom_op"``; ``"stock"``.
        block_shape: (in, out) channels of the blocks that the mask is made of; None: single weights, or what the optimizer says.
            It chooses the kernel on GPUs.
        **kwargs: those of keras.layers.Conv2D.

    Raises:
        ValueError: ``implementation="custom_op"`` where it cannot run (says why); LoRA.

    >>> layer = SparseConv2D(16, 3, padding="same")
    >>> layer(np.ones((2, 8, 8, 16), "float32")).shape == (2, 8, 8, 16)
    True
    >>> layer.mask.shape == (3, 3, 16, 16), len(layer.weights)
    (True, 2)
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return self._compute(inputs, kernel)

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, kernel)

    def _custom_op(self, inputs: Any, kernel: Any) -> Any:
        options = {
            "strides": self.strides,
            "padding": self.padding,
            "data_format": self.data_format,
            **self._op_options(),
        }
        return sparse_ops.sparse_conv2d(inputs, kernel, ops.copy(self.mask), **options)

    def _output_sizes(self, input_shape: Sequence[Any]) -> list[Any]:
        batch, *sizes = input_shape[:-1]  # the custom op is for channels last, without dilation
        lost = [0 if self.padding == "same" else taps - 1 for taps in self.kernel_size]
        pairs = zip(sizes, self.strides, lost, strict=True)
        return [
            batch,
            *(
                None if n is None else (n - gone + stride - 1) // stride
                for n, stride, gone in pairs
            ),
        ]

    def _why_not_this_layer(self) -> str | None:
        return sparse_ops.why_stock_conv2d(
            self.compute_dtype, self.data_format, self.dilation_rate, self.groups, self.block_shape
        )


@keras.saving.register_keras_serializable("keras_sparse", name="SparseDense")
class SparseDense(SparseLayer, keras.layers.Dense, metaclass=NamedInFiles, name_in_files="Dense"):
    """keras.layers.Dense that skips its missing weights: see SparseConv2D.

    >>> layer = SparseDense(16, activation="relu")
    >>> layer(np.ones((2, 32), "float32")).shape == (2, 16), layer.mask.shape == (32, 16)
    (True, True)
    """

    def call(self, inputs: Any, training: Any = None) -> Any:
        outputs = self._compute(ops.convert_to_tensor(inputs), self.kernel)
        if self.bias is not None:
            outputs = ops.add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def _stock(self, inputs: Any, kernel: Any) -> Any:
        return ops.matmul(inputs, kernel)

    def _custom_op(self, inputs: Any, kernel: Any) -> Any:
        inputs = ops.convert_to_tensor(inputs, sparse=False)
        if _keeps_kernel_dtype(inputs, kernel):
            inputs = ops.cast(
                inputs, kernel.dtype
            )  # integers and bools, as the stock operation does
        return sparse_ops.sparse_matmul(inputs, kernel, ops.copy(self.mask), **self._op_options())

    def _why_not_this_layer(self) -> str | None:
        return sparse_ops.why_stock_matmul(self.compute_dtype, self.block_shape)
