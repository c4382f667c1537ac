"""Missing weights may take their gradients from the first examples of a batch, scaled up to all.

Growth only ranks missing weights. A part of the batch ranks them less exactly: docs/choosing.md
has what that cost.
"""

from collections.abc import Callable
from typing import Any

from keras_sparse._keras import host_scope

KernelGradient = Callable[[Any, Any, Any], Any]  # of inputs, mask and output gradient


def gradient_of_part(
    growth_batch: float,
    sparse: KernelGradient,
    dense: KernelGradient,
    inputs: Any,
    mask: Any,
    output_gradient: Any,
) -> Any:
    """The gradient by a kernel: of active weights from all rows, of missing ones from the first.

    With ``n = max(1, round(growth_batch * rows))``, missing weights get ``rows / n`` times the
    gradient of the first n rows. Its expectation is the gradient of all rows, where the order of
    the rows is random.

    Args:
        growth_batch: share of the rows, in (0, 1].
        sparse: the gradient of active weights, 0 for missing ones.
        dense: the gradient of all weights, or of those that get one now.
        inputs: (rows, ...): the examples of a batch, or all rows of a matrix product.
        mask: bool tensor of the kernel's shape, True = active.
        output_gradient: (rows, ...).
    """
    import tensorflow as tf

    rows = inputs.shape[0]
    n, scale = _first_rows(growth_batch, tf.shape(inputs)[0] if rows is None else rows)
    if isinstance(n, int) and n >= rows:
        return dense(inputs, mask, output_gradient)
    active = sparse(inputs, mask, output_gradient)
    missing = dense(inputs[:n], mask, output_gradient[:n])
    return tf.where(mask, active, missing * tf.cast(scale, missing.dtype))


def _first_rows(growth_batch: float, rows: Any) -> tuple[Any, Any]:
    """How many rows the share is, and all rows over these.

    Args:
        growth_batch: the share.
        rows: an int, or a scalar tensor; then both results are tensors.
    """
    if isinstance(rows, int):
        n = max(1, round(growth_batch * rows))
        return n, rows / n
    import tensorflow as tf

    with host_scope():  # a slice of a GPU's tensor waits for its bounds
        share = tf.round(growth_batch * tf.cast(rows, "float32"))
        n = tf.maximum(1, tf.cast(share, rows.dtype))
        return n, tf.cast(rows, "float32") / tf.cast(n, "float32")
