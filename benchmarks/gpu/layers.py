"""The layers that are timed, and the networks that they form."""

import dataclasses
import math
from typing import NamedTuple

# In the order of the library's enum.
PRODUCTS = ("forward", "input gradient", "kernel gradient")
FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT = PRODUCTS
DENSITIES = (0.5, 0.25, 0.1, 0.05, 0.02)


class Sizes(NamedTuple):
    """The numbers of ConvSizes in sparse_conv2d.h, in its order."""

    batch: int
    height: int
    width: int
    channels_in: int
    kernel_height: int
    kernel_width: int
    channels_out: int
    stride_down: int
    stride_right: int
    top: int
    left: int
    out_height: int
    out_width: int

    @property
    def inputs(self) -> tuple[int, int, int, int]:
        """Shape of the inputs."""
        return self.batch, self.height, self.width, self.channels_in

    @property
    def kernel(self) -> tuple[int, int, int, int]:
        """Shape of the kernel and its mask."""
        return self.kernel_height, self.kernel_width, self.channels_in, self.channels_out

    @property
    def outputs(self) -> tuple[int, int, int, int]:
        """Shape of the outputs."""
        return self.batch, self.out_height, self.out_width, self.channels_out

    @property
    def multiplications(self) -> int:
        """Of the dense product."""
        return self.batch * self.out_height * self.out_width * math.prod(self.kernel)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution that keeps its pixels but for the stride, or, without pixels, a dense layer."""

    size: int  # of the kernel: 3 for 3x3
    channels_in: int
    channels_out: int
    pixels: int  # height and width of the inputs; 0: a dense layer
    batch: int
    stride: int = 1

    @property
    def name(self) -> str:
        channels = f"{self.channels_in}>{self.channels_out}"
        if self.channels_in == self.channels_out:
            channels = str(self.channels_in)
        if not self.pixels:
            return f"dense {channels} B{self.batch}"
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{self.size}x{self.size} {channels}@{self.pixels}{stride} B{self.batch}"

    @property
    def kind(self) -> str:
        if not self.pixels:
            return "matmul"
        return "1x1 convolution" if self.size == 1 else "convolution"

    @property
    def smallest_channels(self) -> int:
        return min(self.channels_in, self.channels_out)

    @property
    def sizes(self) -> Sizes:
        pixels = max(self.pixels, 1)
        out = -(-pixels // self.stride)
        kernel = (self.size, self.size, self.channels_out)
        strides, padding = (self.stride,) * 2, (self.size // 2,) * 2
        return Sizes(
            self.batch, pixels, pixels, self.channels_in, *kernel, *strides, *padding, out, out
        )

    @property
    def multiplications(self) -> int:
        """Of the dense product."""
        return self.sizes.multiplications

    def bytes(self, product: str, density: float, bytes_of_type: int) -> float:
        """The least that must move: each activation, each active weight and the mask, once.

        Of a kernel gradient every weight is written.
        """
        weights = math.prod(self.sizes.kernel)
        moved = weights * (1 if product == KERNEL_GRADIENT else density)
        moved += math.prod(self.sizes.inputs) + math.prod(self.sizes.outputs)
        return bytes_of_type * moved + weights  # and the mask


def _square(batch: int, *rows: tuple[int, int]) -> tuple[Layer, ...]:
    return tuple(Layer(3, channels, channels, pixels, batch) for channels, pixels in rows)


# The first three are measured first: time may run out.
GROUPS = {
    "3x3 convolutions": _square(
        128, (256, 8), (256, 16), (256, 28), (512, 8), (512, 16), (512, 14)
    ),
    "WRN-28-10": (
        *_square(128, (160, 32), (320, 16), (640, 8)),
        Layer(3, 160, 320, 32, 128, 2),
        Layer(3, 320, 640, 16, 128, 2),
    ),
    "matrix products": (Layer(1, 256, 1024, 14, 128), Layer(1, 4096, 4096, 0, 4096)),
    "VGG16, 32x32": (
        *_square(128, (64, 32), (128, 16), (512, 4), (512, 2)),
        *(Layer(3, c, 2 * c, p, 128) for c, p in ((64, 16), (128, 8), (256, 4))),
    ),
    "VGG16, 224x224": (
        *_square(32, (64, 224), (128, 112), (256, 56), (512, 28), (512, 14)),
        *(Layer(3, c, 2 * c, p, 32) for c, p in ((64, 112), (128, 56), (256, 28))),
    ),
}

# How often each layer is there. Layers of fewer than 64 channels and the 1x1 shortcuts would stay
# dense and are left out.
_WRN, _SMALL, _LARGE = GROUPS["WRN-28-10"], GROUPS["VGG16, 32x32"], GROUPS["VGG16, 224x224"]
NETWORKS = {
    "WRN-28-10, batch 128": dict(zip(_WRN, (7, 7, 7, 1, 1), strict=True)),
    "VGG16 on 32x32, batch 128": dict(
        zip((*_SMALL, GROUPS["3x3 convolutions"][0]), (1, 1, 2, 3, 1, 1, 1, 2), strict=True)
    ),
    "VGG16 on 224x224, batch 32": dict(zip(_LARGE, (1, 1, 2, 2, 3, 1, 1, 1), strict=True)),
}

TINY = {
    "3x3 convolutions": (Layer(3, 32, 32, 4, 1), Layer(3, 64, 64, 3, 1)),
    "WRN-28-10": (Layer(3, 32, 32, 4, 1, 2),),
    "matrix products": (Layer(1, 32, 64, 3, 2), Layer(1, 64, 64, 0, 9)),
}
TINY_NETWORKS = {"rehearsed network": dict.fromkeys(TINY["3x3 convolutions"], 2)}


def all_layers(rehearse: bool) -> tuple[Layer, ...]:
    """Each once, in the order in which they are measured."""
    return tuple(
        dict.fromkeys(layer for group in (TINY if rehearse else GROUPS).values() for layer in group)
    )
