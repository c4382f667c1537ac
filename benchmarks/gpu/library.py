"""Calls the library through the C functions of blocks_c_api.cc and cores_c_api.cu."""

import ctypes
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.gpu.layers import PRODUCTS, Sizes

# {how numbers are multiplied: (their type, the library's number of it)}. On tensor cores float32 is
# TF32, on CUDA cores it is IEEE.
ARITHMETIC = {
    "bfloat16": ("bfloat16", 1),
    "float32": ("float32", 0),
    "tensorfloat32": ("float32", 0),
    "float16": ("float16", 2),
}
BLOCKS = (16, 32, 64)
STRUCTURES = ("weights", "channel_pairs")  # in the order of MaskStructure


Launch = tuple[str, tuple[int, int, int], list[int]]  # kernel, grid, arguments


class KernelError(RuntimeError):
    """What the library says, or that a result is not there."""


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One way to compute products."""

    arithmetic: str
    block: int | str  # 16, 32, 64: on tensor cores; "weights", "channel_pairs": on CUDA cores

    @property
    def name(self) -> str:
        what = f"{self.block}-blocks" if self.in_blocks else str(self.block).replace("_", " ")
        return f"{self.arithmetic} {what}"

    @property
    def in_blocks(self) -> bool:
        return isinstance(self.block, int)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The arguments that name it, behind product and sizes."""
        return (
            (ARITHMETIC[self.arithmetic][1], int(self.block))
            if self.in_blocks
            else (STRUCTURES.index(str(self.block)),)
        )


ALL_KERNELS = tuple(
    Kernel(arithmetic, block)
    for arithmetic in ARITHMETIC
    for block in (STRUCTURES if arithmetic == "float32" else BLOCKS)
)


@dataclasses.dataclass(frozen=True)
class Pointers:
    """Addresses on the device."""

    first: int
    second: int
    mask: int
    result: int
    workspace: int


class Library:
    """The shared library."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        for name, result in (
            ("why_not_in_blocks", ctypes.c_char_p),
            ("block_workspace", ctypes.c_int64),
            ("run_in_blocks", ctypes.c_char_p),
        ):
            getattr(self.library, f"keras_sparse_{name}").restype = result
        self.has_cuda_cores = hasattr(self.library, "keras_sparse_run_on_cuda_cores")
        if self.has_cuda_cores:
            self.library.keras_sparse_why_not_on_cuda_cores.restype = ctypes.c_char_p
            self.library.keras_sparse_cuda_cores_workspace.restype = ctypes.c_int64

    def why_not(self, kernel: Kernel, product: str, sizes: Sizes) -> str | None:
        """Why there is no such product, or None."""
        if not kernel.in_blocks and not self.has_cuda_cores:
            return "the library was built without the kernels in CUDA"
        function = self._function("why_not_in_blocks", "why_not_on_cuda_cores", kernel)
        why = function(PRODUCTS.index(product), _array(sizes), *kernel.numbers)
        return why and why.decode()

    def workspace(self, kernel: Kernel, product: str, sizes: Sizes) -> int:
        """Bytes."""
        function = self._function("block_workspace", "cuda_cores_workspace", kernel)
        return function(PRODUCTS.index(product), _array(sizes), *kernel.numbers)

    def prepare(
        self, kernel: Kernel, product: str, sizes: Sizes, pointers: Pointers, stream: int
    ) -> Callable[[], None]:
        """A call that starts the product and returns at once, with as little Python as possible."""
        p, address = pointers, ctypes.c_void_p
        rest = [address(p.result), address(p.workspace), address(stream)]
        mask, first, second = address(p.mask), address(p.first), address(p.second)
        order = (first, second, mask) if kernel.in_blocks else (mask, first, second)
        arguments = (PRODUCTS.index(product), _array(sizes), *kernel.numbers, *order, *rest)
        function = self._function("run_in_blocks", "run_on_cuda_cores", kernel)

        def call() -> None:
            if problem := function(*arguments):
                raise KernelError(
                    problem.decode() if isinstance(problem, bytes) else f"CUDA's error {problem}"
                )

        return call

    def launches(
        self, kernel: Kernel, product: str, sizes: Sizes, pointers: Pointers
    ) -> list[Launch]:
        """What a product by blocks runs, one after the other."""
        names, numbers = (ctypes.c_char_p * 4)(), (ctypes.c_int64 * 128)()
        addresses = map(ctypes.c_void_p, dataclasses.astuple(pointers))
        number = self.library.keras_sparse_plan_blocks(
            PRODUCTS.index(product), _array(sizes), *kernel.numbers, *addresses, names, numbers
        )
        rows = [numbers[32 * i : 32 * (i + 1)] for i in range(number)]
        return [
            (names[i].decode(), (row[0], row[1], row[2]), row[4 : 4 + row[3]])
            for i, row in enumerate(rows)
        ]

    def _function(self, of_blocks: str, of_cuda_cores: str, kernel: Kernel) -> Any:
        return getattr(
            self.library, f"keras_sparse_{of_blocks if kernel.in_blocks else of_cuda_cores}"
        )


def _array(sizes: Sizes) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * 13)(*sizes)
