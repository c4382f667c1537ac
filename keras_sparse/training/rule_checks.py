"""Checks that rules, scope and density fit together, and that what rules read is kept."""

import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_sparse.rules import scores
from keras_sparse.rules.all_layers import check_no_distribution
from keras_sparse.rules.received import received
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.momentum import check_momentum


def check_rules(prune: Any, grow: Any, density: Any) -> None:
    """Raises ValueError for rules by which no mask would change, unless it is asked for.

    Args:
        prune: score of the prune rule, or None.
        grow: score of the grow rule, or None.
        density: a number or a schedule.
    """
    given = received(prune=prune, grow=grow, density=density)
    if prune is None and (grow is not None or callable(density)):
        raise ValueError(
            "`prune=None` means masks that never change, with `grow=None` and a density that is a "
            f"number. {given}"
        )
    if prune is not None and grow is None and not callable(density):
        raise ValueError(
            "With `grow=None` and a constant density no mask would change: pass a density "
            f"schedule, or `prune=None`. {given}"
        )


def check_scope_is_used(scope: str, initial_masks: Any, density: Any, distribution: Any) -> None:
    """Raises ValueError for ``"global"`` where nothing is pruned to a density."""
    if scope == "global" and initial_masks == "magnitude":
        check_no_distribution(scope, distribution)
    elif scope == "global" and not callable(density):
        raise ValueError(
            '`scope="global"` is of pruning to a density, and nothing is pruned to one: pass a '
            'density schedule, or `initial_masks="magnitude"`. '
            f"{received(density=density, initial_masks=initial_masks)}"
        )


def check_momentum_is_kept(
    rules: Sequence[Any], inner_optimizer: Any, gradient_momentum: float | None
) -> None:
    """Raises ValueError where a rule reads a momentum and none is kept.

    Args:
        rules: scores and shares, or None: of pruning, redistributing, growing.
        inner_optimizer: a Keras optimizer.
        gradient_momentum: decay of an average that stands for the momentum, or None.
    """
    prune, redistribute, grow = rules
    needed = scores.needs_of(prune, grow, redistribute if grow else None)
    if gradient_momentum is None and "momentum" in needed:
        check_momentum(inner_optimizer)


def gradient_average(
    rules: Sequence[Any], gradient_momentum: float | None
) -> GradientAverage | None:
    """The average of gradients to keep: the momentum, or the last gradient; None: neither.

    Args:
        rules: scores and shares, or None.
        gradient_momentum: decay of an average that stands for the momentum, or None.

    Raises:
        ValueError: both are needed.
    """
    if "gradient" not in scores.needs_of(*rules):
        return None if gradient_momentum is None else GradientAverage(gradient_momentum)
    if gradient_momentum is not None:
        raise ValueError(
            "A rule reads the last gradient and `gradient_momentum` asks for an average: one or "
            f"the other can be kept. Received: gradient_momentum={gradient_momentum}"
        )
    return GradientAverage(0.0)


def warn_of_zero_steps(inner_optimizer: Any) -> None:
    """Warns of Adafactor with an ``epsilon_1`` whose square is 0 in float32, as by default.

    Its divisor is a product of means over a row and a column, which are ``epsilon_1`` where no
    weight of either has a gradient. A step of 0 / 0 makes the whole weight NaN.
    """
    for one in getattr(inner_optimizer, "optimizers", [inner_optimizer]):
        if not isinstance(one, keras.optimizers.Adafactor):
            continue
        if np.float32(one.epsilon_1) ** 2 < np.finfo(np.float32).tiny:
            warnings.warn(ZERO_STEPS.format(one.epsilon_1), stacklevel=3)


ZERO_STEPS = (
    "Keras' Adafactor divides 0 by 0 where a unit without a gradient meets an input without one, "
    "which sparse layers soon have, and all weights of the layer become NaN. Pass "
    "Adafactor(..., epsilon_1=1e-16). Received: epsilon_1={}"
)
