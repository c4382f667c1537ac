"""The floating-point operations of a training, counted from multiply-adds and densities.

A step of a layer is its forward product, the gradient of its inputs and the gradient of its
weights, each of two operations a multiply-add. The first layer needs no gradient of its inputs.
Missing weights cost nothing in the first two. The gradient of the weights is dense while the growth
window is open, and otherwise of active weights only. With a growth batch, an open step costs both:
those of active weights, and dense ones of a share of the batch. Not counted: the optimizer,
normalization, activations, and the updates of masks.
"""

import math
from collections.abc import Sequence


def training_flops(
    multiply_adds: Sequence[float],
    densities: Sequence[Sequence[float]],
    open_shares: Sequence[float],
    examples: int,
    growth_batch: float = 1.0,
) -> float:
    """Operations of a sparse training.

    Args:
        multiply_adds: of one example in each layer when it is dense, the first layer first.
        densities: for each epoch the mean density of each layer.
        open_shares: for each epoch the share of its steps with dense weight gradients, in [0, 1].
        examples: trained in one epoch.
        growth_batch: share of a batch with dense weight gradients in these steps.

    >>> training_flops([10, 20], [[0.5, 0.25]], [0.0], examples=1)  # 2 (2 x 5 + 3 x 5)
    50.0
    >>> training_flops([10, 20], [[0.5, 0.25]], [1.0], examples=1)  # 2 (5 + 5 + 5 + 10 + 20)
    90.0
    >>> training_flops([10, 20], [[0.5, 0.25]], [1.0], examples=1, growth_batch=0.5)  # 50 + 30
    80.0
    """
    total = 0.0
    for row, is_open in zip(densities, open_shares, strict=True):
        for i, (dense, density) in enumerate(zip(multiply_adds, row, strict=True)):
            forward = dense * density
            inputs = forward if i > 0 else 0.0
            opened = dense if growth_batch == 1 else forward + growth_batch * dense
            weights = is_open * opened + (1 - is_open) * forward
            total += 2 * examples * (forward + inputs + weights)
    return total


def dense_flops(multiply_adds: Sequence[float], epochs: int, examples: int) -> float:
    """Operations of the dense training.

    >>> dense_flops([10, 20], epochs=3, examples=1)  # 3 x 2 (2 x 10 + 3 x 20)
    480.0
    """
    densities = [[1.0] * len(multiply_adds)] * epochs
    return training_flops(multiply_adds, densities, [1.0] * epochs, examples)


def open_shares(window: float, steps: int, epochs: int) -> list[float]:
    """For each epoch the share of its steps in which the growth window is open.

    Masks are updated before each epoch but the first.

    Args:
        window: steps before an update with dense weight gradients: 0, none; infinity, all.
        steps: in an epoch.
        epochs: of the training; no update follows the last one.

    >>> open_shares(100, steps=400, epochs=3)
    [0.25, 0.25, 0.0]
    """
    if math.isinf(window):
        return [1.0] * epochs
    return [min(window / steps, 1.0)] * (epochs - 1) + [0.0]
