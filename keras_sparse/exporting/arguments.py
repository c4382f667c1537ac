"""Arguments of ``export`` that depend on each other, checked before anything is computed."""

import numbers
from collections.abc import Collection, Iterable
from typing import Any

from keras_sparse.rules.flags import check_flags
from keras_sparse.rules.received import received


def check_numbers(dtype: str, sample: Any, tolerance: float | None) -> None:
    """Raises ValueError unless int8 has a sample, and the tolerance is none or not negative."""
    is_number = isinstance(tolerance, numbers.Real) and not isinstance(tolerance, bool)
    if tolerance is not None and not (is_number and tolerance >= 0):
        raise ValueError(f"`tolerance` must be 0 or larger. {received(tolerance=tolerance)}")
    if dtype == "int8" and sample is None:
        raise ValueError(
            "`sample` must be a batch of your data for int8, which takes the ranges of all layers' "
            "outputs from it. Received: sample=None"
        )


def check_settings(name: str, allowed: Collection[str] | None, settings: Iterable[str]) -> None:
    """Raises TypeError for a further argument that the format would ignore.

    Args:
        name: of the format.
        allowed: what it takes; None: anything, its converter checks it.
        settings: names of those that were given.
    """
    for each in settings:
        if allowed is not None and each not in allowed:
            raise TypeError(
                f"export() has no argument `{each}` for the format {name!r}, which takes "
                f"{', '.join(allowed) or 'none'} beside its own"
            )


def is_stored_sparse(name: str, dtype: str, sparsity: bool | None) -> bool | None:
    """Whether a format stores kernels with many zeros sparse; None: if it loses no weights by it.

    Raises:
        ValueError: the format leaves no choice.
    """
    if sparsity is None:
        return None if name == "litert" and dtype != "int8" else False
    if name != "litert":
        raise ValueError(
            f"`sparsity` must be None for the format {name!r}, which stores zeros as they are. "
            f"{received(sparsity=sparsity)}"
        )
    check_flags(sparsity=sparsity)
    return sparsity
