"""What conv_ops.py compares: layers, masks and implementations."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure

Contender = Callable[[], object]
KINDS = {"TF": False, "XLA": True}  # of dense operations: with XLA?


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution of stride 1 with padding "same", or, without pixels, a dense layer."""

    size: int  # of the kernel: 3 for 3x3
    channels_in: int
    channels_out: int
    pixels: int  # height and width of the inputs; 0: a dense layer
    batch: int

    @property
    def name(self) -> str:
        if not self.pixels:
            return f"dense {self.channels_in} > {self.channels_out}, batch {self.batch}"
        kernel = f"{self.size}x{self.size} {self.channels_in} > {self.channels_out}"
        return f"{kernel}, {self.pixels}x{self.pixels}, batch {self.batch}"

    @property
    def kernel_shape(self) -> tuple[int, ...]:
        size = (self.size, self.size) if self.pixels else ()
        return *size, self.channels_in, self.channels_out

    def activations_shape(self, channels: int) -> tuple[int, ...]:
        size = (self.pixels, self.pixels) if self.pixels else ()
        return self.batch, *size, channels


def _layers(*rows: tuple[int, ...]) -> tuple[Layer, ...]:
    return tuple(Layer(*row) for row in rows)


GROUPS = {
    "3x3 convolutions": _layers(
        *((3, 64, 64, 32, 64), (3, 128, 128, 16, 64), (3, 256, 256, 8, 64), (3, 512, 512, 4, 64)),
        *((3, 160, 160, 32, 32), (3, 320, 320, 16, 32), (3, 640, 640, 8, 32)),
        *((3, 128, 128, 28, 16), (3, 256, 256, 14, 32)),
    ),
    "1x1 convolutions": _layers(
        *((1, 256, 64, 56, 16), (1, 256, 1024, 14, 32), (1, 1024, 256, 14, 32))
    ),
    "dense layers": _layers((1, 1024, 1024, 0, 128), (1, 4096, 4096, 0, 128)),
}


def random_mask(layer: Layer, density: float, structure: Structure | None = None) -> np.ndarray:
    """This share of the groups of the structure, of single weights without one, evenly spread."""
    structure = structure or Weights()
    groups = np.zeros(int(np.prod(structure.grid(layer.kernel_shape))), bool)
    order = np.random.default_rng(0).permutation(groups.size)
    groups[order[: round(density * groups.size)]] = True
    return structure.from_groups(
        groups.reshape(structure.grid(layer.kernel_shape)), layer.kernel_shape
    )


def masks_of_training(file: Path, batch: int) -> list[tuple[Layer, np.ndarray]]:
    """The layers and masks in a file that ``trained_masks.py`` wrote."""
    with np.load(file) as arrays:
        pairs = []
        for name in arrays.files:
            pixels, *shape = map(int, name.split("@")[1].split("x"))
            bits = np.unpackbits(arrays[name], count=int(np.prod(shape)))
            mask = bits.reshape(shape).astype(bool)
            pairs.append((Layer(shape[0], shape[2], shape[3], pixels, batch), mask))
    return pairs


class Operands:
    """Random inputs, output gradients and kernel of a layer, and the dtype to compute in."""

    def __init__(self, layer: Layer, dtype: str = "float32") -> None:
        self.dtype = dtype
        rng = np.random.default_rng(0)
        shapes = [layer.activations_shape(n) for n in (layer.channels_in, layer.channels_out)]
        shapes.append(layer.kernel_shape)
        self.layer = layer
        self.inputs, self.output_gradient, self.kernel = (
            rng.standard_normal(shape, dtype=np.float32) for shape in shapes
        )


def dense(operands: Operands, forward_only: bool, jit_compile: bool) -> Contender:
    """What Keras runs: the dense product, and the dense gradients."""

    def product(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if operands.layer.pixels:
            return keras.ops.conv(inputs, kernel, padding="same")
        return keras.ops.matmul(inputs, kernel)

    return _step(product, operands, operands.kernel, forward_only, jit_compile)


def sparse(
    operands: Operands, mask: np.ndarray, forward_only: bool, implementation: str = "custom_op"
) -> Contender:
    """The sparse product, with the gradient of the active weights alone."""
    from keras_sparse.compute import ops

    constant = tf.constant(mask)

    def product(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        flags = {"dense_weight_gradient": False, "implementation": implementation}
        if operands.layer.pixels:
            return ops.sparse_conv2d(inputs, kernel, constant, padding="same", **flags)
        return ops.sparse_matmul(inputs, kernel, constant, **flags)

    return _step(product, operands, operands.kernel * mask, forward_only, jit_compile=False)


def at_densities(
    layer: Layer, densities: Sequence[float], forward_only: bool
) -> dict[str, Contender]:
    """``TF`` and ``XLA``, the dense operation, and the sparse one with an even mask by density."""
    operands = Operands(layer)
    found = {name: dense(operands, forward_only, xla) for name, xla in KINDS.items()}
    masks = {str(density): random_mask(layer, density) for density in densities}
    return found | {name: sparse(operands, mask, forward_only) for name, mask in masks.items()}


def _step(
    product: Callable[..., tf.Tensor],
    operands: Operands,
    kernel: np.ndarray,
    forward_only: bool,
    jit_compile: bool,
) -> Contender:
    """A compiled function of one product, or of that and both gradients."""
    arrays = operands.inputs, operands.output_gradient
    inputs, output_gradient = (tf.cast(array, operands.dtype) for array in arrays)
    # A training changes the weights: no operation may keep what it read in the last step.
    number = 1 if forward_only else 2
    versions = itertools.cycle([tf.cast(kernel, operands.dtype) for _ in range(number)])

    @tf.function(autograph=False, jit_compile=jit_compile)
    def step(inputs: tf.Tensor, weights: tf.Tensor, output_gradient: tf.Tensor) -> object:
        if forward_only:
            return product(inputs, weights)
        with tf.GradientTape() as tape:
            tape.watch((inputs, weights))
            outputs = product(inputs, weights)
        with tf.control_dependencies([outputs]):  # a training knows it not before the outputs
            known = tf.identity(output_gradient)
        return outputs, tape.gradient(outputs, (inputs, weights), output_gradients=known)

    return lambda: step(inputs, next(versions), output_gradient)
