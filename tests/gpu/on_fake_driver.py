"""Launches one product on a fake driver and prints the result; a program of test_block_driver.py.

python on_fake_driver.py LIBRARY PRODUCT TYPE BLOCK
"""

import ctypes
import sys

from interpreted import plan

SIZES = (2, 9, 7, 64, 3, 3, 64, 1, 1, 1, 1, 9, 7)
POINTERS = (
    1 << 40,
    2 << 40,
    3 << 40,
    4 << 40,
    5 << 40,
)  # first, second, mask, result, workspace: nobody reads there
STREAM = 77

if __name__ == "__main__":
    library = ctypes.CDLL(sys.argv[1])
    library.keras_sparse_run_in_blocks.restype = ctypes.c_char_p
    product, type_, block = map(int, sys.argv[2:])
    for name, grid, arguments in plan(library, (product, SIZES, type_, block), list(POINTERS)):
        print("plan", name, *grid, *arguments)
    sizes = (ctypes.c_int64 * 13)(*SIZES)
    for _ in range(2):
        problem = library.keras_sparse_run_in_blocks(
            product, sizes, type_, block, *map(ctypes.c_void_p, (*POINTERS, STREAM))
        )
        print("said", problem.decode() if problem else "nothing", flush=True)
