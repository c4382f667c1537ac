"""Runs the Triton kernels without a GPU: Triton's interpreter, with the library's launches."""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


class Memory:
    """As much of a torch tensor as the interpreter asks of one: an address, and a dtype."""

    def __init__(self, address: int, dtype: str) -> None:
        self.address, self.dtype = address, dtype

    def data_ptr(self) -> int:
        return self.address

    def untyped_storage(self) -> "Memory":
        return self

    def cpu(self) -> "Memory":
        return self

    def copy_(self, other: "Memory") -> None:
        """It is the same memory."""

    def new_empty(self, size: int, device: str) -> "Memory":
        return Memory(self.address, self.dtype)

    def set_(self, storage: "Memory", *_: Any) -> None:
        self.address = storage.address

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return ()

    def stride(self) -> tuple[int, ...]:
        return ()


def load_kernels(folder: Path) -> tuple[Any, Any]:
    """The interpreted block_kernels and compile_block_kernels. Call it before `import triton`."""
    sys.path.insert(0, str(folder))
    os.environ["TRITON_INTERPRET"] = "1"
    import block_kernels
    import compile_block_kernels

    return block_kernels, compile_block_kernels


def plan(
    library: ctypes.CDLL, call: tuple[Any, ...], pointers: list[int]
) -> list[tuple[str, tuple[int, ...], list[int]]]:
    """[(kernel, grid, arguments)] of a call (product, sizes, type, block)."""
    names, numbers = (ctypes.c_char_p * 4)(), (ctypes.c_int64 * 128)()
    product, sizes, type_, block = call
    number = library.keras_sparse_plan_blocks(
        product,
        (ctypes.c_int64 * 13)(*sizes),
        type_,
        block,
        *map(ctypes.c_void_p, pointers),
        names,
        numbers,
    )
    rows = np.ctypeslib.as_array(numbers).reshape(4, 32)[:number].tolist()
    return [(names[i].decode(), tuple(row[:3]), row[4 : 4 + row[3]]) for i, row in enumerate(rows)]


def run(
    kernels: Any,
    compiler: Any,
    type_: str,
    block: int,
    launches: list[tuple[str, tuple[int, ...], list[int]]],
) -> None:
    """Runs the launches in the interpreter."""
    for name, grid, arguments in launches:
        kernel = getattr(kernels, name)
        kinds = [
            compiler.pointer_of(argument, type_)
            for argument in kernel.arg_names
            if not argument.isupper()
        ]
        values = [
            Memory(value, kind[1:]) if kind else value
            for value, kind in zip(arguments, kinds, strict=True)
        ]
        kernel[grid](*values, **compiler.constants(name, type_, block))
