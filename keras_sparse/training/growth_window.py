"""The growth window: steps before a mask update in which missing weights need a gradient."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_sparse.rules import scores
from keras_sparse.rules.flags import is_word
from keras_sparse.rules.received import received
from keras_sparse.training.momentum import MULTI_OPTIMIZER, kept_by, linear_decay

# What a momentum still holds of the gradients before the window: 0.5 %. A longer memory gained
# nothing, a shorter one cost accuracy: benchmarks/results/accuracy.md.
TAIL = 0.9**50
Window = int | str | None


def check(growth_window: Any) -> Window:
    """Returns ``"auto"``, None or a positive int; raises ValueError for anything else."""
    if growth_window is None or is_word(growth_window, "auto"):
        return growth_window
    if (
        isinstance(growth_window, bool)
        or not isinstance(growth_window, int | np.integer)
        or growth_window <= 0
    ):
        raise ValueError(
            '`growth_window` must be "auto", None or a positive integer. '
            f"{received(growth_window=growth_window)}"
        )
    return int(growth_window)


def check_batch(growth_batch: Any) -> float:
    """Returns a share of a batch in (0, 1] as a float; raises ValueError for anything else."""
    is_number = isinstance(growth_batch, int | float | np.integer | np.floating)
    if isinstance(growth_batch, bool) or not is_number or not 0 < growth_batch <= 1:
        raise ValueError(f"`growth_batch` must be in (0, 1]. {received(growth_batch=growth_batch)}")
    return float(growth_batch)


def steps_of(
    growth_window: Window,
    reads: Iterable[str],
    inner_optimizer: keras.optimizers.Optimizer,
    average_decay: float | None,
) -> float:
    """Optimizer steps before an update in which missing weights need a gradient.

    0: none; infinity: all.

    Args:
        growth_window: a number of steps; None: all; ``"auto"``: until the momentum holds ``TAIL``
            of the gradients before.
        reads: what is read of missing weights, ``"momentum"`` or ``"gradient"`` by the rules;
            ``"second moment"`` by the inner optimizer, where it steps all of them again.
        inner_optimizer: whose momentum it is.
        average_decay: decay of the gradient average that stands for the momentum or the last
            gradient, or None.

    >>> steps_of("auto", ["momentum"], keras.optimizers.SGD(momentum=0.9), None)
    50
    >>> steps_of("auto", ["gradient"], keras.optimizers.SGD(momentum=0.9), average_decay=0.0)
    1
    >>> steps_of("auto", ["momentum"], keras.optimizers.Adam(), None)
    50
    >>> steps_of("auto", ["momentum"], keras.optimizers.Lamb(), None)
    inf
    """
    reads = set(reads)
    if growth_window is None:
        return math.inf
    if not isinstance(growth_window, str):
        return growth_window
    parts = (
        inner_optimizer.optimizers
        if isinstance(inner_optimizer, MULTI_OPTIMIZER)
        else [inner_optimizer]
    )
    if not all(map(_is_elementwise, parts)):
        return math.inf  # active weights would step otherwise than with dense gradients
    if not reads:
        return 0
    decays = [decay for part in parts if (decay := linear_decay(part)) is not None]
    if len(decays) < len(parts):
        return math.inf
    if "second moment" in reads and any(kept_by(part).scales for part in parts):
        # All weights return at once: second moments next to nothing would make their first steps
        # far too large. It did no harm to the few that grow in an update: docs/choosing.md.
        return math.inf
    reads.discard("second moment")
    if not reads:
        return 0
    decay = max(decays) if average_decay is None else average_decay
    return 1 if decay == 0 else math.ceil(math.log(TAIL) / math.log(decay) - 1e-9)


def read_of_missing(prune: Any, redistribute: Any, grow: Any) -> frozenset[str]:
    """What the rules read of missing weights.

    Built-in prune scores and shares look at active ones only; yours may do else.
    """
    own = [prune] if prune not in scores.SCORES.values() else []
    own += [redistribute] if redistribute not in scores.SHARES.values() else []
    return scores.needs_of(grow, *own)


def _is_elementwise(optimizer: Any) -> bool:
    """Does the step of a weight depend on no other weight's gradient?"""
    clips_norms = optimizer.clipnorm is not None or optimizer.global_clipnorm is not None
    return kept_by(optimizer).is_elementwise and not clips_norms
