"""The products that ``tune`` measures, and functions that compute them dense and sparse."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_sparse.compute.break_even import FEW_ROWS, OPEN, TRAINED
from keras_sparse.compute.op_call import call_custom_op
from keras_sparse.compute.product import Product
from keras_sparse.rules.blocks import Blocks
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure

# By their names in a table; blocks of 4x4 stand for all that have kernels of their own.
STRUCTURES: dict[str, Structure] = {"weights": Weights(), "blocks": Blocks(4, 4, per_tap=True)}
BOTH, KERNEL = "both", "kernel"  # gradients, for ``computing``


@dataclasses.dataclass(frozen=True)
class Measured:
    """A product of which ``tune`` measures the break-even density.

    Attributes:
        size: height and width of the kernel; 0: a dense layer.
        channels_in: of the kernel.
        channels_out: of the kernel.
        pixels: height and width of the inputs; 1 for a dense layer.
        batch: number of examples.
        dilation: the distance of neighbouring taps.
    """

    size: int
    channels_in: int
    channels_out: int
    pixels: int
    batch: int
    dilation: int = 1

    @property
    def name(self) -> str:
        """As the progress shows it."""
        channels = f"{self.channels_in} > {self.channels_out}, batch {self.batch}"
        return f"{self.size}x{self.size} {channels}" if self.size else f"dense {channels}"

    @property
    def positions(self) -> int:
        """Outputs of one channel."""
        return self.batch * self.pixels**2

    def product(self, dtype: str, structure: Structure) -> Product:
        """What is to be computed."""
        channels = self.channels_in, self.channels_out
        if self.size == 0:
            return Product("matmul", channels, dtype, structure=structure)
        kernel, dilation = (self.size, self.size, *channels), (self.dilation, self.dilation)
        return Product(
            "conv2d", kernel, dtype, padding="same", dilation=dilation, structure=structure
        )

    def shape(self, channels: int) -> tuple[int, ...]:
        """The shape of inputs or outputs with this number of channels."""
        sizes = (self.pixels, self.pixels) if self.size else ()
        return self.batch, *sizes, channels


# For each kind of product: many output positions, fewer, and so few that a call counts. Trained
# ones differ in the width of the images. Open ones have those of trainings.
MEASURED = {
    "convolution": (
        Measured(3, 64, 64, 32, 4),
        Measured(3, 256, 256, 8, 8),
        Measured(3, 256, 256, 4, 4),
        Measured(3, 512, 512, 4, 1),
        Measured(3, 512, 512, 2, 1),
    ),
    "dilated convolution": (
        Measured(3, 128, 128, 28, 2, dilation=2),
        Measured(3, 256, 256, 33, 1, dilation=6),
        Measured(3, 256, 256, 6, 1, dilation=2),
    ),
    "1x1 convolution": (
        Measured(1, 256, 64, 56, 1),
        Measured(1, 512, 512, 4, 16),
        Measured(1, 256, 1024, 7, 1),
        Measured(1, 320, 1280, 4, 1),
    ),
    "matmul": (
        Measured(0, 512, 512, 1, 1024),
        Measured(0, 2048, 2048, 1, 128),
        Measured(0, 1024, 1024, 1, 64),
        Measured(0, 2048, 2048, 1, 16),
    ),
    TRAINED + "convolution": (
        Measured(3, 128, 128, 32, 8),
        Measured(3, 64, 128, 16, 32),
        Measured(3, 256, 256, 8, 16),
        Measured(3, 256, 512, 4, 16),
    ),
    TRAINED + "1x1 convolution": (
        Measured(1, 256, 64, 56, 1),
        Measured(1, 64, 256, 16, 16),
        Measured(1, 256, 1024, 7, 16),
        Measured(1, 512, 512, 4, 64),
    ),
    OPEN + "convolution": (
        Measured(3, 64, 64, 32, 4),
        Measured(3, 128, 128, 16, 8),
        Measured(3, 256, 256, 8, 16),
        Measured(3, 512, 512, 4, 16),
    ),
    OPEN + "dilated convolution": (
        Measured(3, 128, 128, 16, 4, dilation=2),
        Measured(3, 256, 256, 8, 8, dilation=2),
    ),
    OPEN + "1x1 convolution": (
        Measured(1, 256, 64, 16, 16),
        Measured(1, 64, 256, 16, 16),
        Measured(1, 512, 512, 7, 16),
    ),
    FEW_ROWS: (Measured(0, 4096, 4096, 1, 1), Measured(0, 2048, 2048, 1, 8)),
}
# For tests of the command: they say nothing about a machine.
QUICK = {
    "convolution": (Measured(3, 32, 32, 16, 2), Measured(3, 32, 32, 16, 4)),
    "dilated convolution": (Measured(3, 32, 32, 16, 2, dilation=2),),
    "1x1 convolution": (Measured(1, 64, 64, 16, 8),),
    "matmul": (Measured(0, 256, 256, 1, 512),),
    TRAINED + "convolution": (Measured(3, 32, 32, 16, 2),),
    TRAINED + "1x1 convolution": (Measured(1, 64, 64, 16, 8),),
    OPEN + "convolution": (Measured(3, 32, 32, 16, 2),),
    OPEN + "dilated convolution": (Measured(3, 32, 32, 16, 2, dilation=2),),
    OPEN + "1x1 convolution": (Measured(1, 64, 64, 16, 8),),
    FEW_ROWS: (Measured(0, 2048, 1024, 1, 1),),
}


def random_mask(shape: tuple[int, ...], structure: Structure, density: float) -> np.ndarray:
    """A mask of this share of whole groups, evenly spread.

    >>> int(random_mask((4, 4), Weights(), 0.25).sum())
    4
    """
    groups = np.zeros(structure.grid(shape), bool)
    active = np.random.default_rng(0).permutation(groups.size)[: round(density * groups.size)]
    groups.reshape(-1)[active] = True
    return structure.from_groups(groups, shape)


def computing(
    measured: Measured, product: Product, density: float | None, gradients: str = ""
) -> Callable[[], object]:
    """A compiled function that computes a product, its gradients, or both.

    Args:
        measured: the product's sizes.
        product: the same product.
        density: of the mask, for the custom op; None: the dense operation of Keras.
        gradients: ``""``: the product alone, as in a prediction. ``BOTH``: with both gradients;
            missing weights get none, as in most steps of a training. ``KERNEL``: the gradient by
            the kernel alone.
    """
    import tensorflow as tf

    rng, shape = np.random.default_rng(0), tuple(n or 0 for n in product.kernel_shape)
    shapes = (measured.shape(shape[-2]), shape, measured.shape(shape[-1]))
    arrays = [rng.standard_normal(each, dtype="float32") for each in shapes]
    if density is not None:
        mask = random_mask(shape, product.structure, density)
        arrays[1] *= mask
        constant = tf.constant(mask)
    inputs, kernel, output_gradient = (tf.cast(array, product.dtype) for array in arrays)

    def multiply(inputs: Any, kernel: Any) -> Any:
        if density is not None:
            return call_custom_op(product, inputs, kernel, constant, False, measured.name)
        if product.kind == "matmul":
            return keras.ops.matmul(inputs, kernel)
        return keras.ops.conv(inputs, kernel, 1, "same", "channels_last", product.dilation)

    operands = inputs, kernel, output_gradient
    step = tf.function(_step(multiply, gradients), autograph=False)
    traced = step.get_concrete_function(*operands)
    return lambda: traced(*operands)


def _step(multiply: Callable[[Any, Any], Any], gradients: str) -> Callable[..., Any]:
    """A function of inputs, kernel and output gradient, for ``computing``."""
    import tensorflow as tf

    def step(inputs: Any, kernel: Any, output_gradient: Any) -> Any:
        if not gradients:
            return multiply(inputs, kernel)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            watched = (kernel,) if gradients == KERNEL else (inputs, kernel)
            tape.watch(watched)
            outputs = multiply(inputs, kernel)
        found = tape.gradient(outputs, watched, output_gradient)
        return found if gradients == KERNEL else (outputs, found)

    return step
