"""Presets whose density stays: RigL, SET and static masks, by SparseMomentum with other rules.

All take the arguments of ``SparseMomentum`` by keyword, and the same ``UpdateMasks`` callback.
"""

from typing import Any, Unpack

from keras_sparse.training.schedules import CosineOverTraining
from keras_sparse.training.settings import CommonSettings, Settings, check_names
from keras_sparse.training.sparse_momentum import SparseMomentum


def RigL(inner_optimizer: Any, density: Any, **settings: Unpack[Settings]) -> SparseMomentum:
    """RigL (Evci et al. 2020): prune by magnitude, grow by |dense gradient| of the last step.

    Each layer regrows the number of weights that it lost. The distribution is ERK, as in the paper.
    The paper updates every 100 steps (``UpdateMasks(every=100)``) with a prune rate from 0.3, and
    stops at 75 % of the training; pass ``prune_rate=`` for that.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: active / all masked weights, in (0, 1], or a schedule.
        **settings: further arguments of ``SparseMomentum``.

    Raises:
        TypeError: an argument that ``SparseMomentum`` does not have.
        ValueError: an argument out of range.

    >>> RigL("adam", 0.1).grow.__name__
    'gradient'
    """
    check_names("RigL", settings, Settings)
    rules: Settings = {
        "grow": "gradient",
        "redistribute": None,
        "distribution": "erk",
        "prune_rate": CosineOverTraining(0.3, 0.0),
        **settings,
    }
    return SparseMomentum(inner_optimizer, density, **rules)


def SET(inner_optimizer: Any, density: Any, **settings: Unpack[Settings]) -> SparseMomentum:
    """SET (Mocanu et al. 2018): prune by magnitude, grow at random, at a prune rate of 0.3.

    Each layer regrows the number of weights that it lost.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: active / all masked weights, in (0, 1], or a schedule.
        **settings: further arguments of ``SparseMomentum``.

    Raises:
        TypeError: an argument that ``SparseMomentum`` does not have.
        ValueError: an argument out of range.

    >>> SET("sgd", 0.1).prune_rate
    0.3
    """
    check_names("SET", settings, Settings)
    rules: Settings = {
        "grow": "random",
        "redistribute": None,
        "distribution": "erdos_renyi",
        "prune_rate": 0.3,
        **settings,
    }
    return SparseMomentum(inner_optimizer, density, **rules)


def StaticSparsity(
    inner_optimizer: Any, density: float, **settings: Unpack[CommonSettings]
) -> SparseMomentum:
    """Masks that never change: the baseline, or fine-tuning of a pruned model.

    For fine-tuning pass ``initial_masks="magnitude"`` or ``"nonzero"``.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: active / all masked weights, in (0, 1].
        **settings: further arguments of ``SparseMomentum``; ``prune``, ``redistribute`` and
            ``grow`` must be None.

    Raises:
        TypeError: a rule is given.
        ValueError: the density is a schedule.

    >>> StaticSparsity("sgd", 0.1).prune is None
    True
    """
    no_rules: Settings = {"prune": None, "redistribute": None, "grow": None}
    given: dict[str, Any] = dict(settings)
    given = {name: v for name, v in given.items() if name not in no_rules or v is not None}
    check_names("StaticSparsity", given, CommonSettings)
    return SparseMomentum(inner_optimizer, density, **no_rules, **given)
