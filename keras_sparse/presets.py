"""The relatives of sparse momentum: the same optimizer with other rules.

All take the arguments of ``SparseMomentum`` by keyword, and are used with the same ``UpdateMasks`` callback.
"""

from typing import Any, Unpack

from keras_sparse.optimizers import SparseMomentum
from keras_sparse.schedules import CosineOverTraining, CubicOverTraining
from keras_sparse.settings import CommonSettings, Settings, check_names


def RigL(inner_optimizer: Any, density: Any, **settings: Unpack[Settings]) -> SparseMomentum:
    """RigL (Evci et al. 2020): prune by magnitude, grow by |dense gradient| of the last step, each layer what it lost.

    The paper updates every 100 steps (``UpdateMasks(every=100)``) with a prune rate from 0.3, stopping at 75 % of the
    training; pass ``prune_rate=`` for that. ERK distribution, as in the paper.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: active / all masked weights, in (0, 1], or a schedule.
        **settings: further arguments of ``SparseMomentum``.

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
    """SET (Mocanu et al. 2018): prune by magnitude, grow at random, each layer what it lost, a constant prune rate of 0.3.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: active / all masked weights, in (0, 1], or a schedule.
        **settings: further arguments of ``SparseMomentum``.
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


def StaticSparsity(inner_optimizer: Any, density: float, **settings: Unpack[CommonSettings]) -> SparseMomentum:
    """Masks that never change: the baseline, or fine-tuning with ``initial_masks="magnitude"`` or ``"nonzero"``.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: active / all masked weights, in (0, 1].
        **settings: further arguments of ``SparseMomentum`` but the rules ``prune``, ``redistribute`` and ``grow``.
    """
    check_names("StaticSparsity", settings, CommonSettings)
    return SparseMomentum(inner_optimizer, density, prune=None, redistribute=None, grow=None, **settings)


def GradualPruning(inner_optimizer: Any, density: Any, **settings: Unpack[Settings]) -> SparseMomentum:
    """Gradual magnitude pruning (Zhu & Gupta 2017): from dense weights to ``density``, nothing grows back.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: final density in (0, 1], reached by a cubic at 75 % of the training; or a schedule of the density, tfmot's
            ``PolynomialDecay`` and ``ConstantSparsity`` included (they bring their own update steps).
        **settings: further arguments of ``SparseMomentum``.
    """
    check_names("GradualPruning", settings, Settings)
    schedule = density if callable(density) else CubicOverTraining(density)
    rules: Settings = {"grow": None, "redistribute": None, "initial_masks": "magnitude", **settings}
    return SparseMomentum(inner_optimizer, schedule, **rules)
