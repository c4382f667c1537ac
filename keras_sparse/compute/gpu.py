"""What the compiled ops run on a GPU, and where they were measured to be faster than dense ones."""

import functools
import json
import math
from pathlib import Path
from typing import Any

from keras_sparse.compute.break_even import kind_of
from keras_sparse.compute.library import available
from keras_sparse.rules.blocks import BlockShape

BLOCKS = (64, 32, 16)  # channels of a block, for which there are kernels
TENSOR_CORE_TYPES = ("float32", "bfloat16", "float16")
MEASURED = (
    Path(__file__).parent / "gpu_break_even.json"
)  # tables that benchmarks/gpu/run.py wrote, one for each compute capability


def has_gpu() -> bool:
    """Does TensorFlow see a GPU?"""
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def block_of(block_shape: BlockShape) -> int:
    """What the op's kernels make of a mask's structure: the largest square block that fits, 1 for pairs of channels, 0 for single weights.

    >>> block_of(None), block_of((32, 32)), block_of((64, 16)), block_of((1, 8))
    (0, 32, 16, 1)
    """
    if block_shape is None:
        return 0
    return next((block for block in BLOCKS if math.gcd(*block_shape) % block == 0), 1)


def why_not_on_gpu(dtype: str, block_shape: BlockShape) -> str | None:
    """Why there is no kernel for GPUs for these masks, or None."""
    block = block_of(block_shape)
    missing = available().without.get("blocks" if block > 1 else "cuda_cores")
    if missing is not None:
        return f"the compiled ops were built without these kernels for GPUs: {missing}"
    if block <= 1:
        of = "single weights" if block == 0 else "pairs of channels"
        return (
            None
            if dtype == "float32"
            else f"dtype is {dtype}, and masks of {of} run in float32 on GPUs: blocks of 16, 32 or 64 channels run in all"
        )
    if dtype not in TENSOR_CORE_TYPES:
        return f"dtype is {dtype}, not one of {', '.join(TENSOR_CORE_TYPES)}"
    return (
        "blocks in float32 are computed in TensorFloat-32, which TensorFlow is told not to use"
        if dtype == "float32" and not _allows_tf32()
        else None
    )


def largest_density_on_gpu(shape: tuple[int, ...], dtype: str, block_shape: BlockShape) -> float:
    """The density up to which the custom op was faster than cuDNN on such a GPU, forward and backward together; 0.0 where nobody measured.

    Args:
        shape: of the kernel.
        dtype: of inputs and kernel.
        block_shape: of the mask.
    """
    block: str | int = {0: "weights", 1: "channel_pairs"}.get(
        block_of(block_shape), block_of(block_shape)
    )
    if dtype == "float32" and _allows_tf32():
        dtype = "tensorfloat32"  # what dense operations are computed in: single weights and pairs of channels, IEEE's, were not compared with it
    rows = [
        row
        for table in _measured()
        if table["compute_capability"] == _compute_capability()
        for row in table["rows"]
    ]
    fits = [
        row
        for row in rows
        if (row["kind"], row["dtype"], row["block"]) == (kind_of(shape), dtype, block)
    ]
    return max(
        (row["density"] for row in fits if row["smallest_channels"] <= min(shape[-2:])), default=0.0
    )


def why_not_faster(
    shape: tuple[int, ...], dtype: str, block_shape: BlockShape, density: float = 0.0
) -> str | None:
    """Why the dense operation is taken on this GPU at this density, or None."""
    limit = largest_density_on_gpu(shape, dtype, block_shape)
    if limit == 0:
        return f'on GPUs of compute capability {_compute_capability()} nobody has measured it to be faster: implementation="custom_op" runs it'
    return f"density {density:.2f} is above {limit:g}" if density > limit else None


@functools.cache
def _measured() -> list[dict[str, Any]]:
    return json.loads(MEASURED.read_text())


def _compute_capability() -> str:
    """Of the first GPU, "9.0"."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
    return ".".join(map(str, details["compute_capability"]))


def _allows_tf32() -> bool:
    import tensorflow as tf

    return bool(tf.config.experimental.tensor_float_32_execution_enabled())
