"""What does a sparse layer hold beside its weights?  The mask of its kernel, and what its graph reads of it."""

from typing import Any

import keras
import numpy as np

from keras_sparse._keras import Saveable, eager_scope, host_scope, to_numpy
from keras_sparse.blocks import BlockShape, check_divisible


class KernelMask(Saveable):
    """The mask of one kernel, which it hangs on: an optimizer that masks the kernel takes this mask for its own.

    Its variables are state and no weights, as random seeds are: in ``model.variables``, in what Keras and
    tf.train.Checkpoint save, and not in ``model.weights``, ``get_weights`` or ``count_params``.

    Args:
        kernel: the variable, of any shape (..., in, out).
        block_shape: (in, out) channels of the blocks that the mask is made of, None for single weights.

    Attributes:
        mask: bool variable of the kernel's shape, True = active; at first True everywhere.
        dense_weight_gradient: bool scalar variable: do missing weights get a gradient?  At first False.
        mask_density: float32 scalar variable: active / all weights of the mask.
    """

    def __init__(self, kernel: Any, block_shape: BlockShape = None) -> None:
        self.shape = tuple(int(n) for n in kernel.shape)
        self.block_shape = block_shape
        check_divisible(kernel.path, self.shape, block_shape)
        with eager_scope():
            self.mask = keras.Variable("ones", shape=self.shape, dtype="bool", trainable=False, name="mask")
        with eager_scope(), host_scope():  # what decides who computes is read on the host: on a GPU each step would wait for it
            self.dense_weight_gradient = keras.Variable("zeros", shape=(), dtype="bool", trainable=False, name="dense_weight_gradient")
            self.mask_density = keras.Variable("ones", shape=(), dtype="float32", trainable=False, name="mask_density")
        kernel.kernel_mask = self

    @property
    def variables(self) -> list[Any]:
        return [self.mask, self.dense_weight_gradient, self.mask_density]

    def assign(self, mask: np.ndarray) -> None:
        """Replaces the mask.

        Args:
            mask: bool array of the kernel's shape.

        Raises:
            ValueError: another dtype or shape.
        """
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != self.shape:
            raise ValueError(f"`mask` must be bool, of the kernel's shape {self.shape}. Received: mask of dtype {mask.dtype}, shape {mask.shape}")
        self.mask.assign(mask)
        self.mask_density.assign(float(mask.mean()))

    def take_block_shape(self, name: str, block_shape: BlockShape) -> None:
        """Takes the block shape of the optimizer that masks the kernel of this name; ValueError if it is made of other blocks."""
        if self.block_shape not in (None, block_shape):
            raise ValueError(
                f"`block_shape` of the optimizer must be that of the sparse layers. Received: block_shape={block_shape}, and {self.block_shape} of "
                f"the layer with the kernel {name!r}"
            )
        self.block_shape = block_shape

    def density(self) -> float:
        """Active / all weights of the kernel."""
        return float(to_numpy(self.mask).mean())

    def want_dense_weight_gradient(self, wanted: bool) -> None:
        """Says whether missing weights get a gradient; writes only what is new."""
        if bool(to_numpy(self.dense_weight_gradient)) != wanted:
            self.dense_weight_gradient.assign(wanted)

    def save_own_variables(self, store: Any) -> None:
        store["mask"] = to_numpy(self.mask)

    def load_own_variables(self, store: Any) -> None:
        if "mask" in list(store.keys()):  # else these are the weights of a dense layer, and the mask stays
            self.assign(np.asarray(store["mask"], bool))


def kernel_mask_of(variable: Any) -> KernelMask | None:
    """The KernelMask of a sparse layer's kernel; None for any other variable."""
    return getattr(variable, "kernel_mask", None)
