"""The products to check: fixed awkward shapes with masks of all kinds, and random ones."""

import dataclasses
import random

from benchmarks.gpu.layers import Sizes

SAME, VALID = "same", "valid"
RANDOM_CASES = 12


@dataclasses.dataclass(frozen=True)
class Case:
    """A convolution and the kind of its mask."""

    name: str
    pixels: tuple[int, int, int]  # batch, height, width
    kernel: tuple[int, int, int, int]
    mask: str | int = 16
    density: float = 0.3
    strides: tuple[int, int] = (1, 1)
    padding: str = SAME

    @property
    def sizes(self) -> Sizes:
        _, height, width = self.pixels
        kernel_height, kernel_width, channels_in, channels_out = self.kernel
        rows, top = _axis(height, kernel_height, self.strides[0], self.padding)
        columns, left = _axis(width, kernel_width, self.strides[1], self.padding)
        kernel = (channels_in, kernel_height, kernel_width, channels_out)
        return Sizes(*self.pixels, *kernel, *self.strides, top, left, rows, columns)


def _axis(pixels: int, size: int, stride: int, padding: str) -> tuple[int, int]:
    """(Outputs, zeros before the first input), as TensorFlow counts."""
    if padding == VALID:
        return (pixels - size) // stride + 1, 0
    outputs = -(-pixels // stride)
    return outputs, max((outputs - 1) * stride + size - pixels, 0) // 2


SMALL = (
    Case("ragged pixels", (2, 7, 5), (3, 3, 64, 64)),
    Case("stride 2, even", (1, 6, 6), (3, 3, 64, 64), 32, strides=(2, 2)),
    Case("stride 2, odd, valid", (2, 7, 9), (3, 3, 64, 128), 64, 0.5, (2, 2), VALID),
    Case("strides longer than the kernel", (1, 7, 9), (2, 2, 64, 64), 16, 0.5, (3, 4)),
    Case("strides that differ", (1, 6, 8), (3, 2, 64, 64), 16, 0.5, (2, 3), VALID),
    Case("unstructured", (1, 5, 4), (3, 3, 64, 64), "weights", 0.03),
    Case("channel pairs", (1, 6, 7), (3, 3, 64, 64), "channel_pairs", 0.2),
    Case("empty", (1, 4, 4), (3, 3, 64, 64), "weights", 0.0),
    Case("full", (1, 5, 5), (3, 3, 64, 64), "weights", 1.0),
    Case("one weight", (1, 4, 5), (3, 3, 128, 64), "one"),
    Case("one output channel", (1, 4, 4), (3, 3, 64, 128), "last output"),
    Case("one pixel", (3, 1, 1), (3, 3, 64, 64), 16, 0.4),
    Case("1x1", (3, 5, 7), (1, 1, 128, 64), 32, 0.4),
    Case("1x1, stride 2", (2, 5, 6), (1, 1, 64, 64), 16, 0.4, (2, 2)),
    Case("dense layer", (37, 1, 1), (1, 1, 192, 64), 64, 0.4),
    Case("long kernel", (1, 9, 3), (7, 1, 64, 64), 32, 0.3),
    Case("few channels", (3, 6, 5), (3, 3, 3, 5), "weights", 0.4),
    Case("one channel", (1, 5, 5), (3, 3, 1, 1), "weights", 0.6),
    Case("odd channels, stride 2", (2, 9, 7), (3, 3, 17, 33), "channel_pairs", 0.3, (2, 2)),
)  # fmt: skip
LARGE = (
    Case("many pixels", (33, 9, 9), (3, 3, 64, 128), 32, 0.2),
    Case("parts of the pixels", (16, 28, 28), (3, 3, 128, 128), 64, 0.25),
    Case("5x5, valid", (4, 16, 18), (5, 5, 64, 128), 16, 0.1, padding=VALID),
    Case("long lists", (2, 5, 5), (3, 3, 2048, 64), 16, 0.3),
    Case("many output channels", (2, 5, 5), (3, 3, 64, 2048), 16, 0.3),
    Case("dense layer, ragged", (1027, 1, 1), (1, 1, 1024, 512), 32, 0.1),
    Case("unstructured, large", (8, 15, 13), (3, 3, 256, 192), "weights", 0.05),
    Case("channel pairs, large", (8, 15, 13), (3, 3, 256, 192), "channel_pairs", 0.1),
    Case("full, large", (5, 14, 14), (3, 3, 128, 128), "weights", 1.0),
    Case("channels that are no blocks of 64", (3, 16, 16), (3, 3, 160, 96), 32, 0.2),
)
NAMES_FOR_TOOLS = (
    *("ragged pixels", "strides longer than the kernel", "channel pairs", "one weight"),
    *("dense layer", "odd channels, stride 2"),
)
FOR_TOOLS = tuple(case for case in SMALL if case.name in NAMES_FOR_TOOLS)


def random_cases(number: int = RANDOM_CASES) -> tuple[Case, ...]:
    """The same in every run."""
    draw = random.Random(0)
    return tuple(_random_case(i, draw) for i in range(number))


def _random_case(i: int, draw: random.Random) -> Case:
    size = draw.randint(1, 5), draw.randint(1, 5)
    pixels = (draw.randint(1, 19), size[0] + draw.randint(0, 14), size[1] + draw.randint(0, 14))
    channels = 64 * draw.randint(1, 4), 64 * draw.randint(1, 4)
    mask = draw.choice((16, 32, 64, "weights", "channel_pairs"))
    density = draw.choice((0.02, 0.1, 0.3, 0.7))
    strides, padding = (draw.randint(1, 3), draw.randint(1, 3)), draw.choice((SAME, VALID))
    return Case(f"random {i}", pixels, (*size, *channels), mask, density, strides, padding)


def all_cases(rehearse: bool) -> tuple[Case, ...]:
    """In a rehearsal those that are small, the smallest first."""
    if rehearse:
        return tuple(sorted(SMALL, key=lambda case: case.sizes.multiplications))
    return (*SMALL, *LARGE, *random_cases())
