"""Runs the library's kernels without a GPU: Triton's in its interpreter, those in CUDA as C++.

Import it before torch and Triton: Triton decides at import what it interprets.
"""

import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.gpu.layers import Sizes
from benchmarks.gpu.library import BLOCKS, Kernel, Library, Pointers
from benchmarks.load_file import load_file

ROOT = Path(__file__).resolve().parents[2]
interpreted = load_file(ROOT / "tests" / "gpu" / "interpreted.py")

# As Triton calls them; in bfloat16 its interpreter multiplies wrongly.
TYPES = {"tensorfloat32": "fp32", "float16": "fp16"}
TABLE = """#include "custom_ops/triton/block_variants.h"
namespace keras_sparse {{
const BlockVariant kBlockVariants[] = {{{{}}}};
const int kBlockVariantCount = 0;
const BlockTile kBlockTiles[] = {{{tiles}}};
const int kBlockTileCount = {number};
const char* const kWhyNoBlockVariants = nullptr;
}}  // namespace keras_sparse
"""


def build(folder: Path) -> Path:
    """A library that plans products by blocks, and computes the others on the CPU."""
    folder.mkdir(parents=True, exist_ok=True)
    _, compiler = interpreted.load_kernels(ROOT / "custom_ops" / "triton")
    tiles = compiler.tile_rows()
    table, library = folder / "block_table.cc", folder / "rehearsal.so"
    table.write_text(TABLE.format(tiles="".join(tiles), number=len(tiles)))
    blocks = sorted((ROOT / "custom_ops" / "triton").glob("*.cc"))
    cuda = sorted((ROOT / "custom_ops" / "cuda").glob("*.cu"))
    options = ["-shared", "-fPIC", "-std=c++17", "-O2", "-w", f"-I{ROOT}"]
    subprocess.run(["g++", *options, "-o", library, *blocks, table, "-x", "c++", *cuda], check=True)
    return library


class InterpretedLibrary(Library):
    """The same functions, on memory of the CPU."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.kernels, self.compiler = interpreted.load_kernels(ROOT / "custom_ops" / "triton")

    def why_not(self, kernel: Kernel, product: str, sizes: Sizes) -> str | None:
        if kernel.block in BLOCKS and kernel.arithmetic not in TYPES:
            return "Triton's interpreter does not multiply bfloat16"
        return super().why_not(kernel, product, sizes)

    def prepare(
        self, kernel: Kernel, product: str, sizes: Sizes, pointers: Pointers, stream: int
    ) -> Callable[[], None]:
        if not kernel.in_blocks:
            return super().prepare(kernel, product, sizes, pointers, stream)
        launches = self.launches(kernel, product, sizes, pointers)
        return lambda: interpreted.run(
            self.kernels, self.compiler, TYPES[kernel.arithmetic], int(kernel.block), launches
        )
