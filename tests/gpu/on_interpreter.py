"""Checks the sums of the kernels for blocks, interpreted with the launches of a GPU.

test_block_kernels.py runs this in its own process: Triton and TensorFlow each bring an LLVM, and
crash together.
"""

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest
from interpreted import load_kernels, plan, run

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "custom_ops" / "build"))
from build_gpu import build_gpu  # noqa: E402
from build_ops import COMMON  # noqa: E402

FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT = range(3)
TYPES = {
    "fp32": (0, np.float32, 1e-5),
    "fp16": (2, np.float16, 2e-3),
}  # bfloat16 products are wrong in the interpreter
GUARD = 256

# batch, height, width, input channels, kernel height and width, output channels, strides, padding
SHAPES = {
    "3x3": (2, 9, 7, 32, 3, 3, 48, 1, 1, "same"),
    "3x3, strides": (2, 9, 7, 32, 3, 3, 48, 2, 2, "same"),
    "uneven": (1, 8, 9, 64, 3, 2, 32, 2, 3, "valid"),
    "1x1, many pixels": (3, 11, 13, 64, 1, 1, 64, 1, 1, "same"),
    "1x1, strides": (1, 6, 6, 32, 1, 1, 32, 3, 3, "same"),
    "wide kernel": (1, 4, 4, 16, 5, 5, 16, 1, 1, "same"),
    "stride over all": (2, 3, 3, 16, 2, 2, 32, 4, 4, "same"),
    "one pixel": (1, 1, 1, 64, 3, 3, 64, 1, 1, "same"),
}


@pytest.fixture(scope="module")
def triton():
    return load_kernels(ROOT / "custom_ops" / "triton")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    opened = ctypes.CDLL(
        str(build_gpu(tmp_path_factory.mktemp("gpu"), ROOT / "build" / "custom_ops", COMMON))
    )
    opened.keras_sparse_block_workspace.restype = ctypes.c_int64
    opened.keras_sparse_why_not_in_blocks.restype = ctypes.c_char_p
    return opened


def sizes_of(n, h, w, channels, kh, kw, filters, sh, sw, padding):
    if padding == "same":
        out = (-(-h // sh), -(-w // sw))
        pads = [
            max(0, (o - 1) * s + k - size) // 2
            for o, s, k, size in zip(out, (sh, sw), (kh, kw), (h, w), strict=True)
        ]
    else:
        out, pads = ((h - kh) // sh + 1, (w - kw) // sw + 1), [0, 0]
    return (n, h, w, channels, kh, kw, filters, sh, sw, *pads, *out)


def reference(product, sizes, mask, inputs, kernel, gradient):
    """Tap by tap, in double precision."""
    n, h, w, channels, kh, kw, filters, sh, sw, top, left, oh, ow = sizes
    padded = np.zeros((n, h + kh + sh * oh, w + kw + sw * ow, channels))
    outputs, weights = np.zeros((n, oh, ow, filters)), np.zeros(kernel.shape)
    active = np.where(mask, kernel, 0).astype("float64")
    if product != INPUT_GRADIENT:
        padded[:, top : top + h, left : left + w] = inputs
    for y in range(kh):
        for x in range(kw):
            seen = (
                slice(None),
                slice(y, y + (oh - 1) * sh + 1, sh),
                slice(x, x + (ow - 1) * sw + 1, sw),
            )
            outputs += padded[seen] @ active[y, x]
            weights[y, x] = np.einsum("nyxi,nyxo->io", padded[seen], gradient.astype("float64"))
            if product == INPUT_GRADIENT:
                padded[seen] += gradient @ active[y, x].T
    return {
        FORWARD: outputs,
        INPUT_GRADIENT: padded[:, top : top + h, left : left + w],
        KERNEL_GRADIENT: weights * mask,
    }[product]


def compute(library, triton, product, sizes, type_, block, mask, operands):
    """A product by the library's plan. Memory behind result and workspace must stay unchanged."""
    number, dtype, _ = TYPES[type_]
    first, second, shape = operands
    result = np.full(int(np.prod(shape)) + GUARD, np.nan, dtype)
    bytes_ = library.keras_sparse_block_workspace(
        product, (ctypes.c_int64 * 13)(*sizes), number, block
    )
    workspace = np.full(bytes_ + GUARD, 0xFF, np.uint8)
    pointers = [array.ctypes.data for array in (first, second, mask, result, workspace)]
    run(*triton, type_, block, plan(library, (product, sizes, number, block), pointers))
    assert np.isnan(result[-GUARD:]).all()
    assert (workspace[-GUARD:] == 0xFF).all()
    return result[:-GUARD].reshape(shape)


def check(library, triton, product, shape, type_, block, mask_of):
    sizes = sizes_of(*shape)
    n, h, w, channels, kh, kw, filters, _, _, _, _, oh, ow = sizes
    rng = np.random.default_rng(0)
    mask = np.ascontiguousarray(
        np.broadcast_to(mask_of(rng, kh, kw, channels, filters, block), (kh, kw, channels, filters))
    )
    shapes = [(n, h, w, channels), mask.shape, (n, oh, ow, filters)]
    inputs, kernel, gradient = (
        rng.standard_normal(shape).astype(TYPES[type_][1]) for shape in shapes
    )
    kernel[~mask] = np.nan  # missing weights are never read
    operands = {
        FORWARD: (inputs, kernel, shapes[2]),
        INPUT_GRADIENT: (gradient, kernel, shapes[0]),
        KERNEL_GRADIENT: (inputs, gradient, shapes[1]),
    }
    assert (
        library.keras_sparse_why_not_in_blocks(
            product, (ctypes.c_int64 * 13)(*sizes), TYPES[type_][0], block
        )
        is None
    )
    found = compute(library, triton, product, sizes, type_, block, mask, operands[product])
    wanted = reference(product, sizes, mask, inputs, kernel, gradient)
    np.testing.assert_allclose(
        found, wanted, rtol=0, atol=TYPES[type_][2] * max(1, np.abs(wanted).max())
    )


def blocks(rng, kh, kw, channels, filters, block):
    return (
        np.kron(rng.random((channels // block, filters // block)) < 0.5, np.ones((block, block)))
        > 0
    )


@pytest.mark.parametrize("product", [FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT])
@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("block", [16, 32, 64])
def test_masks_of_blocks(library, triton, product, type_, shape, block):
    if any(n % block for n in (SHAPES[shape][3], SHAPES[shape][6])):
        sizes = (ctypes.c_int64 * 13)(*sizes_of(*SHAPES[shape]))
        assert (
            library.keras_sparse_why_not_in_blocks(product, sizes, TYPES[type_][0], block)
            == b"`kernel` must have channels that are whole blocks"
        )
        return
    check(library, triton, product, SHAPES[shape], type_, block, blocks)


@pytest.mark.parametrize("product", [FORWARD, INPUT_GRADIENT, KERNEL_GRADIENT])
@pytest.mark.parametrize(
    "mask_of",
    [
        pytest.param(
            lambda rng, kh, kw, channels, filters, block: np.zeros(
                (kh, kw, channels, filters), bool
            ),
            id="empty",
        ),
        pytest.param(
            lambda rng, kh, kw, channels, filters, block: np.ones(
                (kh, kw, channels, filters), bool
            ),
            id="full",
        ),
        pytest.param(
            lambda rng, kh, kw, channels, filters, block: (
                rng.random((kh, kw, channels, filters)) < 0.01
            ),
            id="single weights",
        ),
        pytest.param(
            lambda rng, kh, kw, channels, filters, block: rng.random((kh, kw, 1, 1)) < 0.5,
            id="whole taps",
        ),
        pytest.param(
            lambda rng, kh, kw, channels, filters, block: np.arange(filters) >= block,
            id="an empty output block",
        ),
    ],
)
def test_any_mask_is_right(library, triton, product, mask_of):
    check(library, triton, product, (2, 6, 5, 32, 3, 3, 48, 2, 1, "same"), "fp32", 16, mask_of)


def test_many_entries_and_parts(library, triton):
    """Lists longer than a chunk of list_blocks, and pixels in several parts."""
    check(library, triton, FORWARD, (1, 3, 3, 368, 7, 7, 16, 1, 1, "same"), "fp32", 16, blocks)
    check(
        library,
        triton,
        KERNEL_GRADIENT,
        (2, 33, 33, 16, 1, 1, 16, 1, 1, "same"),
        "fp32",
        16,
        blocks,
    )


def test_what_is_not_taken_is_said(library):
    def why(product=FORWARD, shape=SHAPES["3x3"], type_=1, block=16):
        return library.keras_sparse_why_not_in_blocks(
            product, (ctypes.c_int64 * 13)(*sizes_of(*shape)), type_, block
        )

    assert why() is None
    assert why(block=8) == b"`block` must be 16, 32 or 64"
    assert why(block=32) == b"`kernel` must have channels that are whole blocks"
    assert (
        why(shape=(1 << 15, 1 << 8, 1 << 8, 16, 1, 1, 16, 1, 1, "same"))
        == b"`inputs` must have fewer than 2^31 elements"
    )
