"""What must hold for an export: missing weights are 0, and predictions are those of the model."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse._keras import to_float32
from keras_sparse.compute.gpu_kernels import computes_in_tf32
from keras_sparse.compute.mask_state import kernel_mask_of
from keras_sparse.models.masked_weights import masked_weights

# Of the largest prediction. Rounding of float32 gives 1e-6 to 1e-5 in deep networks.
TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "int8": 0.05}
TOLERANCE_OF_16_BITS = 0.05  # where layers compute in 16 bits


def tolerance_for(dtype: str, computes_in_16_bits: bool) -> float:
    """The largest difference that rounding explains; see ``largest_difference``.

    TensorFloat-32, which GPUs compute float32 in, rounds to the 11 bits of float16.
    """
    if computes_in_16_bits:
        return TOLERANCE_OF_16_BITS
    return TOLERANCES["float16" if dtype == "float32" and computes_in_tf32() else dtype]


def checked_density(model: keras.Model) -> float | None:
    """Active / all masked weights; None for a model without kernels.

    Raises:
        ValueError: a weight is not 0 where its mask says that it is missing. Sparse layers compute
            with kernel * mask, so the numbers in their kernels do not matter.
    """
    active = size = 0
    for variable, mask in masked_weights(model):
        active, size = active + int(np.count_nonzero(mask)), size + mask.size
        if kernel_mask_of(variable) is not None or tuple(variable.shape) != mask.shape:
            continue
        outside = int(np.count_nonzero(to_float32(variable)[~mask]))
        if outside:
            raise ValueError(
                "`model` must have zeros where its masks are False: its weights come from "
                "somewhere else than its SparseMomentum, such as an average. Set them to 0 with "
                "`ks.prune`, or load the weights that belong to the masks. "
                f"Received: {variable.path} with {outside} nonzero missing weights"
            )
    return active / size if size else None


def largest_difference(found: Sequence[Any], expected: Sequence[Any]) -> float:
    """The largest |found - expected| relative to the largest |expected|, or to 1 if that is larger.

    It is infinite where shapes differ, or where one has a NaN or an infinity that the other lacks.

    >>> largest_difference([np.array([2.0, 8.0])], [np.array([2.0, 10.0])])
    0.2
    """
    if [each.shape for each in found] != [each.shape for each in expected]:
        return float("inf")
    pairs = zip(found, expected, strict=True)
    return max((_difference(one, other) for one, other in pairs), default=0.0)


def _difference(found: Any, expected: Any) -> float:
    if found.dtype.kind in "OSU":
        return 0.0 if np.array_equal(found, expected) else float("inf")
    one, other = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    finite = np.isfinite(other)
    if not np.array_equal(one[~finite], other[~finite], equal_nan=True):
        return float("inf")
    apart = np.abs(one[finite] - other[finite])
    scale = max(1.0, float(np.max(np.abs(other[finite]), initial=0.0)))
    largest = float(np.max(apart, initial=0.0)) / scale
    return largest if np.isfinite(largest) else float("inf")
