"""The kernels for GPUs: what they compute, and where they were measured to be faster than stock."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import ops

from keras_sparse.compute.cpu_kernels import SPARSE_INPUTS, kind_of, unsupported_form
from keras_sparse.compute.gpu_structure import kernel_structure
from keras_sparse.compute.library import available, why_no_custom_ops
from keras_sparse.compute.product import Product
from keras_sparse.rules.structure import Structure

TENSOR_CORE_TYPES = ("float32", "bfloat16", "float16")
# Tables that benchmarks/gpu/run.py wrote, one for each compute capability.
MEASURED = Path(__file__).parent / "gpu_break_even.json"


class GpuKernels:
    """What kernels for GPUs have in common: one part of the build, and one table of densities."""

    name = ""
    part = ""  # of the build, as ``Availability.without`` names it

    def why_not(self, product: Product) -> str | None:
        """Why there is no kernel for this product, or None."""
        if (why := why_no_custom_ops()) is not None:
            return why
        if (missing := available().without.get(self.part)) is not None:
            return f"the compiled ops were built without these kernels for GPUs: {missing}"
        if product.dilation != (1, 1):
            return f"dilation_rate is {product.dilation}, not 1, on a GPU"
        if product.groups != 1:
            return f"groups is {product.groups}, not 1, on a GPU"
        return self._unsupported_reason(product) or unsupported_form(product)

    def _unsupported_reason(self, product: Product) -> str | None:
        raise NotImplementedError(f"{type(self).__name__} must say what its kernels do not do.")

    def why_slower(self, product: Product) -> str | None:
        """Why the stock operation is taken at any density and batch, or None."""
        if product.has_sparse_inputs:
            return SPARSE_INPUTS
        if self._rows(product):
            return None
        return (
            f"on GPUs of compute capability {_compute_capability()} nobody has measured it to be "
            'faster: implementation="custom_op" runs it'
        )

    def break_even(self, product: Product) -> Any:
        """The density up to which the kernel was faster than cuDNN, forward and backward together.

        0.0 where nobody measured, or where the layer is too small at this batch.
        """
        multiplications = product.positions * float(product.weights)
        found: Any = 0.0
        for row in self._rows(product):
            if isinstance(product.positions, int | float):
                is_covered = multiplications >= row["smallest_multiplications"]
                found = max(found, row["density"]) if is_covered else found
            else:
                is_covered = multiplications >= float(row["smallest_multiplications"])
                found = ops.maximum(found, ops.where(is_covered, row["density"], 0.0))
        return found

    def has_passed(
        self, product: Product, before: float, now: float, limit: float | None = None
    ) -> bool:
        """Has a mask's density passed one up to which the kernel was faster?

        A mask that becomes denser has at twice that density. So masks whose density varies do not
        pass it again and again.

        Args:
            product: what is computed.
            before: density for which a step was traced.
            now: density of the mask.
            limit: the break-even density of the step's batch; None: that of any batch counts.
        """
        limits = {row["density"] for row in self._rows(product)} if limit is None else {limit}
        return any(now <= limit < before or before <= limit < now / 2 for limit in limits)

    def _rows(self, product: Product) -> list[dict[str, Any]]:
        """What was measured of such products, in layers of at most as many channels."""
        of_kernel = kernel_structure(product.structure)
        structure = of_kernel.block if of_kernel.is_blocks else of_kernel.structure
        dtype = product.dtype
        if dtype == "float32" and _allows_tf32():  # that dense operations are computed in
            dtype = "tensorfloat32"
        wanted = (kind_of(product), dtype, structure)
        channels = min(product.known_channels, default=0)
        return [
            row
            for table in _measured()
            if table["compute_capability"] == _compute_capability()
            for row in table["rows"]
            if (row["kind"], row["dtype"], row["block"]) == wanted
            and row["smallest_channels"] <= channels
        ]

    def measured(self) -> str:
        """Which table the break-even densities come from."""
        return f"shipped, GPUs of compute capability {_compute_capability()}"


class GpuBlocks(GpuKernels):
    """Masks of blocks of 16, 32 or 64 channels, on tensor cores."""

    name, part = "gpu_blocks", "blocks"

    def is_for(self, product: Product) -> bool:
        return kernel_structure(product.structure).is_blocks and has_gpu()

    def _unsupported_reason(self, product: Product) -> str | None:
        if product.dtype not in TENSOR_CORE_TYPES:
            return f"dtype is {product.dtype}, not one of {', '.join(TENSOR_CORE_TYPES)}"
        if product.dtype == "float32" and not _allows_tf32():
            return (
                "blocks in float32 are computed in TensorFloat-32, which is switched off in "
                "TensorFlow"
            )
        return _ragged_reason(product)


class GpuCores(GpuKernels):
    """Masks of single weights and of pairs of channels, in float32 on CUDA cores."""

    name, part = "gpu_cores", "cuda_cores"

    def is_for(self, product: Product) -> bool:
        return has_gpu() and not kernel_structure(product.structure).is_blocks

    def _unsupported_reason(self, product: Product) -> str | None:
        if product.dtype == "float32":
            return None
        is_pairs = kernel_structure(product.structure).structure == "channel_pairs"
        kind = "pairs of channels" if is_pairs else "single weights"
        return (
            f"dtype is {product.dtype}, and masks of {kind} run in float32 on GPUs: blocks of 16, "
            "32 or 64 channels run in all"
        )


def lacks_whole_blocks(structure: Structure, shape: Sequence[int]) -> bool:
    """Would a GPU here compute this structure in blocks that do not divide the kernel's channels?

    Args:
        structure: what masks are made of.
        shape: of the kernel.
    """
    block = kernel_structure(structure).block
    return block > 0 and has_gpu() and any(n % block for n in shape[-2:])


def has_gpu() -> bool:
    """Does TensorFlow see a GPU?  False on other backends."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return bool(tf.config.get_visible_devices("GPU"))


def computes_in_tf32() -> bool:
    """Does TensorFlow compute products of float32 in TensorFloat-32 here?"""
    return has_gpu() and _allows_tf32()


def _ragged_reason(product: Product) -> str | None:
    block = kernel_structure(product.structure).block
    if not any(n % block for n in product.known_channels):
        return None
    shape = product.kernel_shape
    return f"the channels of a kernel of shape {shape} are not whole blocks of {block}"


@functools.cache
def _measured() -> list[dict[str, Any]]:
    return json.loads(MEASURED.read_text())


def _compute_capability() -> str:
    """The compute capability of the first GPU, "9.0"."""
    import tensorflow as tf

    details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
    return ".".join(map(str, details["compute_capability"]))


def _allows_tf32() -> bool:
    import tensorflow as tf

    return bool(tf.config.experimental.tensor_float_32_execution_enabled())
