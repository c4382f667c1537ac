"""How one program of each kernel for blocks computes: the pixels, channels and warps it takes."""

from typing import NamedTuple


class Tile(NamedTuple):
    """How one program of a kernel computes."""

    pixels: int
    at_once: int = 1  # entries of a list in one unit of gradients
    rows: int = 0  # channels in one product of gradients
    programs: int = 0  # of gradients: 396 are three for each multiprocessor of an H100
    warps: int = 4
    stages: int = 3  # steps of loads in flight


# Among the fastest of about thirty on an H100, by the geometric mean over five layers and three
# densities, and without spilled registers on any GPU.
# Tensor cores take 64 rows at once in 16-bit types. In float32 they take pixels only as the last
# axis, so gradients are made of 32 rows, which are too few for those instructions.
TILES = {
    ("sum_products", 2): {16: Tile(128), 32: Tile(128), 64: Tile(128)},
    ("sum_products", 4): {16: Tile(256), 32: Tile(128), 64: Tile(128, warps=8, stages=2)},
    ("sum_gradients", 2): {
        16: Tile(64, 4, 64, 1024),
        32: Tile(64, 2, 64, 396),
        64: Tile(64, 1, 64, 396),
    },
    ("sum_gradients", 4): {
        16: Tile(32, 8, 32, 1024),
        32: Tile(64, 2, 32, 396),
        64: Tile(32, 1, 32, 396),
    },
}
LISTED = {16: 512, 32: 256, 64: 128}  # blocks that list_blocks looks at in one step
GROUPS_SUMMED = 64  # groups of outputs in one step of a sum over all
WRITTEN, LOADED = 16, 8  # channels, and parts at once, of a program that writes gradients
