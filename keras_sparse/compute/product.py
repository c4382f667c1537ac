"""A ``Product`` is a convolution or matrix product with a masked kernel, as known when traced.

Sizes are ints, None where they are not known, or float32 scalar tensors that the run knows.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_sparse.rules.received import received
from keras_sparse.rules.single_weights import Weights
from keras_sparse.rules.structure import Structure

Shape = tuple[int | None, ...]
RANKS = {"matmul": 2, "conv2d": 4}  # axes of the kernel, by the kind of product


@dataclasses.dataclass(frozen=True)
class Product:
    """What is to be computed: ``choose`` says by whom.

    Attributes:
        kind: ``"matmul"`` or ``"conv2d"``.
        kernel_shape: (in, out), or (height, width, in // groups, out); None for unknown sizes.
        dtype: of inputs and kernel, e.g. "float32".
        strides: one each for height and width, as ``dilation``.
        padding: ``"valid"`` or ``"same"``.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        dilation: the distance of neighbouring taps, 1 for whole windows.
        groups: in how many groups the channels are convolved.
        structure: what the mask is made of.
        has_sparse_inputs: are the inputs sparse tensors?
        obstacle: why only the stock operation computes it, where the layer knows; or None.
        growth_batch: share of a batch that missing weights take their gradients from.
        positions: outputs of one channel in a batch (batch * height * width, or rows); infinity
            where they are not known.
        width: outputs in a row of an image; infinity where it is not known.
        trains: may the kernel change from call to call? False: in a prediction, or a frozen layer.
        dense_gradient: False: it is computed with both its gradients, that of the kernel for active
            weights alone. Or a function that returns a bool, or a bool tensor that the run knows.

    >>> product = Product("conv2d", (3, 3, 16, 32), strides=(2, 2)).on((8, 9, 9, 16))
    >>> product.positions, product.width
    (128, 4)
    """

    kind: str
    kernel_shape: Shape
    dtype: str = "float32"
    strides: tuple[int, int] = (1, 1)
    padding: str = "valid"
    data_format: str = "channels_last"
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    structure: Structure = dataclasses.field(default_factory=Weights)
    has_sparse_inputs: bool = False
    obstacle: str | None = None
    growth_batch: float = 1.0
    positions: Any = math.inf
    width: float = math.inf
    trains: bool = True
    dense_gradient: Any = True

    def __post_init__(self) -> None:
        if len(self.kernel_shape) != RANKS[self.kind]:
            raise ValueError(
                f"`kernel_shape` of a {self.kind} must have {RANKS[self.kind]} axes. "
                f"Received: kernel_shape={self.kernel_shape}"
            )

    @property
    def taps(self) -> int | None:
        """Places of the kernel: height * width, or 1; None where they are not known."""
        sizes = self.kernel_shape[:-2]
        return None if None in sizes else math.prod(n for n in sizes if n is not None)

    @property
    def known_channels(self) -> list[int]:
        """Input channels, of all groups, and output channels, without those that are not known."""
        inputs, outputs = self.kernel_shape[-2:]
        return [n for n in (inputs and inputs * self.groups, outputs) if n is not None]

    @property
    def is_known(self) -> bool:
        """Are all sizes of the kernel known?"""
        return None not in self.kernel_shape

    @property
    def weights(self) -> int:
        """Weights of the kernel, active or not; its sizes must be known."""
        return math.prod(n or 0 for n in self.kernel_shape)

    def on(self, input_shape: Sequence[Any] | None) -> "Product":
        """The same product, of inputs of this shape; None: of very many.

        Args:
            input_shape: sizes of the inputs, the batch included.
        """
        if input_shape is None:
            return dataclasses.replace(self, positions=math.inf, width=math.inf)
        sizes = self.output_sizes(input_shape)
        is_known = self.kind == "conv2d" and isinstance(sizes[-1], int)
        width = max(1, sizes[-1]) if is_known else math.inf
        return dataclasses.replace(self, positions=positions(sizes), width=width)

    def with_positions(self, positions: Any) -> "Product":
        """The same product with this number of output positions."""
        return dataclasses.replace(self, positions=positions)

    def output_sizes(self, input_shape: Sequence[Any]) -> list[Any]:
        """Batch and other sizes of the outputs, without their channels."""
        if self.kind == "matmul":
            return list(input_shape[:-1])
        is_last = self.data_format == "channels_last"
        batch, *sizes = input_shape[:-1] if is_last else (input_shape[0], *input_shape[2:])
        windows = zip(sizes, self.kernel_shape, self.strides, self.dilation, strict=False)
        return [batch, *(_output_size(*window, self.padding) for window in windows)]


def positions(sizes: Sequence[Any]) -> Any:
    """The product of sizes, infinity where one is not known.

    >>> positions([2, 3]), positions([2, None])
    (6, inf)
    """
    if any(isinstance(size, int) and size == 0 for size in sizes):
        return 0
    return math.prod(math.inf if size is None else size for size in sizes)


def static_shape(tensor: Any) -> Shape | None:
    """The shape of a tensor, None for unknown sizes; None if not even the rank is known."""
    return None if getattr(tensor.shape, "rank", 0) is None else tuple(tensor.shape)


def sizes_of(inputs: Any) -> list[Any] | None:
    """The sizes of a tensor: ints, or float32 tensors where only the run knows them.

    None if not even the rank is known.
    """
    shape = static_shape(inputs)
    if shape is None or None not in shape:
        return None if shape is None else list(shape)
    return [ops.cast(n, "float32") if ops.is_tensor(n) else n for n in ops.shape(inputs)]


def promoted(one: Any, other: Any) -> str:
    """The dtype in which Keras computes a product of tensors of these two dtypes.

    >>> promoted("int32", "float32"), promoted("bfloat16", "float32")
    ('float32', 'float32')
    """
    if one == other:
        return keras.backend.standardize_dtype(one)
    return keras.backend.result_type(one, other)


def pair(argument: str, value: int | Sequence[int]) -> tuple[int, int]:
    """A setting of height and width.

    Args:
        argument: its name, for the error.
        value: an int, or one each for height and width.

    Raises:
        ValueError: anything else, or ints below 1.

    >>> pair("strides", 2)
    (2, 2)
    """
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(number, int) and number >= 1 for number in both):
        raise ValueError(
            f"`{argument}` must be one or two ints of at least 1. {received(**{argument: value})}"
        )
    return both[0], both[1]


def _output_size(size: Any, taps: int | None, stride: int, dilation: int, padding: str) -> Any:
    if size is None or taps is None:
        return None
    lost = 0 if padding == "same" else (taps - 1) * dilation
    return (size - lost + stride - 1) // stride
