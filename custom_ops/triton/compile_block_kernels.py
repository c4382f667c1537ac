"""Compiles the Triton kernels into one C++ file, for GPUs that need not be there.

    cd custom_ops/triton
    python compile_block_kernels.py FOLDER        # block_table.cc, and what it includes
    python compile_block_kernels.py --resources   # registers, spills, shared memory

Needs Triton, here alone: the library runs without it. build_ops.py calls this.
"""

import argparse
import dataclasses
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")
os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "1")  # half of a cubin

import block_kernels
import triton
from block_tiles import GROUPS_SUMMED, LISTED, LOADED, TILES, WRITTEN, Tile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TYPES = {
    "fp32": "kFloat32",
    "bf16": "kBFloat16",
    "fp16": "kFloat16",
}  # Triton's names, and those of ElementType
BLOCKS = (16, 32, 64)
CAPABILITIES = (80, 90)
TEXT_OF = 80  # PTX for 8.0 is what later GPUs get
JOBS = 2

POINTERS = {"mask": "*i8", "flags": "*i32", "entries": "*i32", "counts": "*i32", "parts": "*fp32"}
POINTERS_OF_TYPE = ("kernel", "packed", "inputs", "outputs", "gradients", "kernel_gradient")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One compilation of a kernel."""

    kernel: str
    type: str
    block: int
    capability: int

    @property
    def file(self) -> str:
        return f"{self.kernel}_{self.type}_{self.block}_{self.capability}"


def tile(kernel: str, type_: str, block: int) -> Tile | None:
    """Of the kernels that have one."""
    tiles = TILES.get((kernel, 4 if type_ == "fp32" else 2))
    return tiles and tiles[block]


def constants(kernel: str, type_: str, block: int) -> dict[str, Any]:
    """The constexpr arguments of a kernel."""
    cut = tile("sum_gradients" if kernel == "write_gradient" else kernel, type_, block)
    known = {
        "BLOCK_IN": block,
        "BLOCK_OUT": block,
        "PIXELS": cut and cut.pixels,
        "AT_ONCE": cut and cut.at_once,
        "ROWS": WRITTEN if kernel == "write_gradient" else cut and cut.rows,
        "LOADED": LOADED,
        "SUMMED_LAST": type_ == "fp32",
        "PRECISION": "tf32",
        "CHUNK": LISTED[block] if kernel == "list_blocks" else GROUPS_SUMMED,
    }
    return {
        name: known[name] for name in getattr(block_kernels, kernel).arg_names if name.isupper()
    }


def pointer_of(argument: str, type_: str) -> str | None:
    """Triton's type of an argument that is a pointer."""
    return "*" + type_ if argument in POINTERS_OF_TYPE else POINTERS.get(argument)


def all_variants() -> Iterator[Variant]:
    """What is compiled."""
    kernels = ("flag_blocks", "list_blocks", "sum_products", "sum_gradients", "write_gradient")
    yield from itertools.starmap(Variant, itertools.product(kernels, TYPES, BLOCKS, CAPABILITIES))


def compiled(variant: Variant) -> Any:
    """Triton's object: machine code, PTX, metadata."""
    function = getattr(block_kernels, variant.kernel)
    signature, attributes = {}, {}
    for i, name in enumerate(function.arg_names):
        pointer = pointer_of(name, variant.type)
        signature[name] = "constexpr" if name.isupper() else pointer or "i32"
        if pointer or name == "in_channels":  # channels are whole blocks
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(
        fn=function,
        signature=signature,
        constexprs=constants(variant.kernel, variant.type, variant.block),
        attrs=attributes,
    )
    cut = tile(variant.kernel, variant.type, variant.block) or Tile(0, 0)
    return triton.compile(
        source,
        target=GPUTarget("cuda", variant.capability, 32),
        options={"num_warps": cut.warps, "num_stages": cut.stages},
    )


def row_of(variant: Variant, folder: Path) -> str:
    """Compiles; the variant's rows in the table."""
    code = compiled(variant)
    (folder / f"{variant.file}.cubin").write_bytes(code.asm["cubin"])
    kinds = "".join(
        "p" if kind == "u64" else "i"
        for kind in re.findall(r"\.param \.(u64|u32)", code.asm["ptx"])
    )
    images = [(False, f"{variant.file}_cubin", len(code.asm["cubin"]))]
    if variant.capability == TEXT_OF:
        text = code.asm["ptx"].encode() + b"\0"
        (folder / f"{variant.file}.ptx").write_bytes(text)
        images.append((True, f"{variant.file}_ptx", len(text)))
    return "".join(
        f'    {{"{variant.kernel}", ElementType::{TYPES[variant.type]}, {variant.block}, '
        f"{variant.capability}, {str(is_text).lower()}, {name}, {size}, "
        f'{code.metadata.shared}, {code.metadata.num_warps}, "{kinds}"}},\n'
        for is_text, name, size in images
    )


INCLUDE = """asm(".section .rodata\\n.balign 64\\n{name}:\\n.incbin \\"{file}\\"\\n.previous");
extern "C" const unsigned char {name}[];
"""
TABLE = """// Made by compile_block_kernels.py.
#include "custom_ops/triton/block_variants.h"

{images}
namespace keras_sparse {{
const BlockVariant kBlockVariants[] = {{
{variants}}};
const int kBlockVariantCount = {number};
const BlockTile kBlockTiles[] = {{
{tiles}}};
const int kBlockTileCount = {number_of_tiles};
const char* const kWhyNoBlockVariants = nullptr;
}}  // namespace keras_sparse
"""


def tile_rows() -> list[str]:
    """The rows of the table of tiles."""
    rows = []
    for kernel, type_, block in itertools.product(("sum_products", "sum_gradients"), TYPES, BLOCKS):
        cut = tile(kernel, type_, block)
        assert cut is not None
        numbers = f"{block}, {cut.pixels}, {cut.at_once}, {cut.programs}"
        rows.append(f'    {{"{kernel}", ElementType::{TYPES[type_]}, {numbers}}},\n')
    return rows


def write_table(folder: Path) -> None:
    """Compiles all variants and writes block_table.cc."""
    folder.mkdir(parents=True, exist_ok=True)
    variants = list(all_variants())
    with ProcessPoolExecutor(JOBS) as pool:
        rows = "".join(pool.map(row_of, variants, itertools.repeat(folder), chunksize=8))
    files = [f"{v.file}.cubin" for v in variants] + [
        f"{v.file}.ptx" for v in variants if v.capability == TEXT_OF
    ]
    images = "".join(
        INCLUDE.format(name=file.replace(".", "_"), file=folder / file) for file in files
    )
    tiles = tile_rows()
    table = TABLE.format(
        images=images,
        variants=rows,
        number=len(files),
        tiles="".join(tiles),
        number_of_tiles=len(tiles),
    )
    (folder / "block_table.cc").write_text(table)


def resources() -> Iterator[dict[str, Any]]:
    """Of every variant: a thread's registers, its spilled bytes, shared memory, what multiplies."""
    cuobjdump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    for variant in all_variants():
        code = compiled(variant)
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            Path(file.name).write_bytes(code.asm["cubin"])
            said = subprocess.run(
                [cuobjdump, "--dump-resource-usage", file.name],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        registers, spilled = (
            int(re.search(rf"{name}:(\d+)", said)[1]) for name in ("REG", "STACK")
        )
        multiplies = next((name for name in ("wgmma", "mma.sync") if name in code.asm["ptx"]), "-")
        yield {
            **dataclasses.asdict(variant),
            "registers": registers,
            "spilled": spilled,
            "shared": code.metadata.shared,
            "multiplies": multiplies,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="where the files go")
    parser.add_argument(
        "--resources", action="store_true", help="print what each kernel takes of a GPU"
    )
    arguments = parser.parse_args()
    if arguments.resources:
        for row in resources():
            print("  ".join(f"{value}" for value in row.values()))
    elif arguments.folder is None:
        sys.exit("Say where the files go, or --resources.")
    else:
        write_table(arguments.folder.resolve())
