"""KernelMask: the mask of a sparse layer's kernel, in which missing weights are 0.

Masks follow weights. Whole weights may come without a mask: from a file of a dense layer,
``set_weights``, ``assign`` or tf.train.Checkpoint. Then the nonzero ones become active. If an
optimizer masks the kernel, its masks stay as they are, and the stock operation uses all weights.
"""

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import Saveable, eager_scope, is_loading, set_path, to_float32, to_numpy
from keras_sparse.compute.followed_kernel import followed_kernel_class
from keras_sparse.compute.managed_mask import ManagedMask
from keras_sparse.rules import mask_bits
from keras_sparse.rules.structure import Structure

SKIPPED = (
    "Weights of {kernel!r} were set that its mask does not have. Products skip them where "
    'implementation is "custom_op", and in functions that were traced on a GPU or for a frozen '
    "layer. "
    "Give the optimizer masks that fit by `set_masks`, or set the layer's `implementation` to "
    '"auto" and compile the model again.'
)


class KernelMask(ManagedMask, Saveable):
    """The mask of one kernel, an attribute of the kernel.

    An optimizer that masks the kernel takes this mask for its own. Its variables are state and no
    weights, as random seeds are: in ``model.variables``, in what Keras and tf.train.Checkpoint
    save, and not in ``model.weights``, ``get_weights`` or ``count_params``.

    Args:
        kernel: the variable, of any shape (..., in, out).
        structure: what the mask is made of.
        skips: do products skip weights that the mask does not have, at any density?  A bound
            method; None: no.

    Attributes:
        mask: bool variable of the kernel's shape, True = active; at first True everywhere.
        dense_weight_gradient: bool scalar variable: do missing weights get a gradient?  At first
            False.
        mask_density: float32 scalar variable: active / all weights of the mask. 1 while weights
            that the mask does not have are not 0, so that the stock operation uses them.
        traced_density: on GPUs, the density that the training step was traced for; None: none was.
        traced_break_even: what it was compared with; None: that depends on the batch.
    """

    def __init__(
        self, kernel: Any, structure: Structure, skips: Callable[[], bool] | None = None
    ) -> None:
        super().__init__(structure)
        self.shape = tuple(int(n) for n in kernel.shape)
        self._kernel: Any = weakref.ref(kernel)
        self._has_others = False  # weights that the mask does not have are not 0
        self._skips: Any = (lambda: None) if skips is None else weakref.WeakMethod(skips)
        self.traced_density: float | None = None
        self.traced_break_even: float | None = None
        structure.check(kernel.path, self.shape)
        with eager_scope():
            self.mask = keras.Variable(
                "ones", shape=self.shape, dtype="bool", trainable=False, name="mask"
            )
        # also outside of the layer's `build`; .h5 files need it
        set_path(self.mask, path_of_mask(kernel.path))
        # On the device of the mask: a step that XLA compiles reads no variables of other devices.
        with eager_scope():
            self.dense_weight_gradient = keras.Variable(
                "zeros", shape=(), dtype="bool", trainable=False, name="dense_weight_gradient"
            )
            self.mask_density = keras.Variable(
                "ones",
                shape=(),
                dtype="float32",
                trainable=False,
                autocast=False,  # 0.1 is above 0.1 in bfloat16
                name="mask_density",
            )
        kernel.kernel_mask = self
        kernel.__class__ = followed_kernel_class(type(kernel))

    @property
    def variables(self) -> list[Any]:
        return [self.mask, self.dense_weight_gradient, self.mask_density]

    def assign(self, mask: np.ndarray) -> None:
        """Replaces the mask and leaves the weights: who calls it masks them.

        Args:
            mask: bool array of the kernel's shape.

        Raises:
            ValueError: another dtype or shape.
        """
        mask = np.asarray(mask)
        if mask.dtype != bool or mask.shape != self.shape:
            raise ValueError(
                f"`mask` must be bool, of the kernel's shape {self.shape}. "
                f"Received: mask of dtype {mask.dtype}, shape {mask.shape}"
            )
        self.mask.assign(mask)
        self._count(mask, has_others=False)

    def mask_kernel(self) -> None:
        """Sets missing weights to 0."""
        kernel, mask = self._kernel(), to_numpy(self.mask)
        weights = to_numpy(kernel)
        if weights[~mask].any():
            kernel.assign(np.where(mask, weights, np.zeros_like(weights)))

    def follow_weights(self, always: bool = False) -> None:
        """Makes the mask that of the nonzero weights, where no optimizer masks the kernel.

        Else products use all weights from now on, if some that the mask does not have are not 0.

        Args:
            always: True: also where the mask fits the weights, because some active weights are 0.
                False: only where a missing weight is not 0, or where the mask is True everywhere.
        """
        if self.is_managed():
            self._look_for_others()
            return
        mask, nonzero = to_numpy(self.mask), self.structure.whole(nonzero_mask(self._kernel()))
        if always or mask.all() or (nonzero & ~mask).any():
            self.assign(nonzero)

    def _look_for_others(self) -> None:
        if keras.backend.backend() != "tensorflow":  # which run the stock operation alone
            return
        kernel, mask = self._kernel(), to_numpy(self.mask)
        self._count(mask, has_others=bool(to_numpy(kernel)[~mask].any()))
        skips = self._skips()
        if self._has_others and skips is not None and skips() and not is_loading():
            warnings.warn(SKIPPED.format(kernel=kernel.path), stacklevel=5)

    def weights_are_masked(self) -> None:
        """What the mask does not have is 0 again."""
        if self._has_others:
            self._count(to_numpy(self.mask), has_others=False)

    def _count(self, mask: np.ndarray, has_others: bool) -> None:
        self._has_others = has_others
        self.mask_density.assign(1.0 if has_others else float(mask.mean()))

    def density(self) -> float:
        """Active / all weights of the kernel."""
        return float(to_numpy(self.mask).mean())

    def want_dense_weight_gradient(self, wanted: bool) -> None:
        """Says whether missing weights get a gradient; writes only what is new."""
        if bool(to_numpy(self.dense_weight_gradient)) != wanted:
            self.dense_weight_gradient.assign(wanted)

    def save_own_variables(self, store: Any) -> None:
        mask_bits.save_beside(to_float32(self._kernel()), to_numpy(self.mask), store)

    def load_own_variables(self, store: Any) -> None:
        """Reads the mask, after the weights; a file without one holds a dense layer's weights."""
        mask = mask_bits.load_beside(to_float32(self._kernel()), store)
        if mask is None:
            self.follow_weights(always=True)
        else:
            self.assign(mask)
            self.mask_kernel()


def kernel_mask_of(variable: Any) -> KernelMask | None:
    """The KernelMask of a sparse layer's kernel; None for any other variable."""
    return getattr(variable, "kernel_mask", None)


def path_of_mask(kernel_path: str) -> str:
    """The path of a kernel's mask, beside the kernel.

    >>> path_of_mask("conv/kernel"), path_of_mask("lstm/lstm_cell/recurrent_kernel")
    ('conv/mask', 'lstm/lstm_cell/recurrent_mask')
    """
    folder, _, name = kernel_path.rpartition("/")
    return f"{folder}/{name.replace('pointwise_kernel', 'mask').replace('kernel', 'mask')}"


def nonzero_mask(weights: Any) -> np.ndarray:
    """The mask of weights that come without one: True where they are not 0.

    True everywhere if all of them are 0.

    Args:
        weights: a variable or tensor of any shape.
    """
    nonzero = to_float32(weights) != 0
    return nonzero if nonzero.any() else np.ones_like(nonzero)
