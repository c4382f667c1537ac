"""The relatives of sparse momentum: the same optimizer with other rules.

All take the arguments of ``SparseMomentum`` by keyword, and the same ``UpdateMasks`` callback.
"""

from collections.abc import Sequence
from typing import Any, Unpack

from keras_sparse.rules.density import check_density
from keras_sparse.training.phases import alternating
from keras_sparse.training.schedules import CosineOverTraining, CubicOverTraining, falling
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


def GraNet(
    inner_optimizer: Any,
    density: Any,
    *,
    initial_density: float | None = None,
    **settings: Unpack[Settings],
) -> SparseMomentum:
    """GraNet (Liu et al. 2021, arXiv 2106.10404): gradual pruning, and each update grows, too.

    Each update first prunes to the density of the schedule, by one magnitude threshold for all
    layers. Then each layer prunes by the prune rate and grows the same number by |dense gradient|.
    It starts from random masks by ERK. With ``initial_masks="magnitude"``, for trained weights, it
    starts from the masks of one threshold. The prune rate is a cosine from 0.5 to 0.005. A cubic
    reaches the density at half of the training, as in the paper on CIFAR (0.3 on ImageNet). The
    paper updates every 1000 steps there (``UpdateMasks(every=1000)``).

    Args:
        inner_optimizer: any optimizer; no momentum needed unless ``grow="momentum"``.
        density: final density in (0, 1]; or a schedule: ``CubicOverTraining(0.1, 0.5, end=0.3)``.
        initial_density: density at the start, in [density, 1]; 1.0 is the paper's dense-to-sparse
            variant. None: 0.5, or ``density`` if that is higher.
        **settings: further arguments of ``SparseMomentum``; ``scope="layer"`` prunes each layer to
            its share.

    Raises:
        ValueError: ``initial_density`` below ``density``, or beside a schedule.

    >>> optimizer = GraNet("sgd", 0.1)
    >>> [round(optimizer.density(progress), 4) for progress in (0.0, 0.25, 0.5, 1.0)]
    [0.5, 0.15, 0.1, 0.1]
    """
    check_names("GraNet", settings, Settings, own=("initial_density",))
    rules: Settings = {"grow": "gradient", "redistribute": None, "scope": "global", **settings}
    if rules["scope"] == "layer" or rules.get("initial_masks") != "magnitude":
        rules.setdefault("distribution", "erk")  # else magnitudes decide from the start
    return SparseMomentum(inner_optimizer, falling(density, initial_density), **rules)


def ACDC(
    inner_optimizer: Any,
    density: Any,
    *,
    borders: Sequence[float] | None = None,
    **settings: Unpack[Settings],
) -> SparseMomentum:
    """AC/DC (Peste et al. 2021, arXiv 2106.12379): dense and sparse phases in turn, sparse at last.

    A sparse phase begins with pruning to the density, by one magnitude threshold for all layers;
    its masks do not change. A dense phase trains all weights: missing weights start at 0, and so do
    all momenta of the inner optimizer.

    ``UpdateMasks()`` changes masks where phases begin. In your own loop, call ``update_masks``
    there; calls in between change nothing.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: density of the sparse phases, in (0, 1]; or an ``AlternatingOverTraining``.
        borders: shares of the training, in [0, 1), at which phases begin; the first and the last
            phase are sparse. None: the paper's on ImageNet, see ``AlternatingOverTraining``. The
            paper's on CIFAR-100 are ``(0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)``. In
            epochs of 100: ``[epoch / 100 for epoch in (20, 40, 60)]``.
        **settings: further arguments of ``SparseMomentum``.

    Raises:
        ValueError: ``borders`` are not ascending, are of an even number, or come with a schedule.

    >>> optimizer = ACDC("sgd", 0.1, borders=(0.2, 0.4, 0.6))
    >>> [optimizer.density(progress) for progress in (0.0, 0.2, 0.4, 0.6)]
    [1.0, 0.1, 1.0, 0.1]
    """
    check_names("ACDC", settings, Settings, own=("borders",))
    schedule = alternating(density, borders)
    rules: Settings = {
        "grow": None,
        "redistribute": None,
        "initial_masks": "magnitude",
        "scope": "global",
        **settings,
    }
    return SparseMomentum(inner_optimizer, schedule, **rules)


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


def GradualPruning(
    inner_optimizer: Any, density: Any, **settings: Unpack[Settings]
) -> SparseMomentum:
    """Gradual magnitude pruning (Zhu & Gupta 2017): from dense weights to ``density``.

    Nothing grows back.

    Args:
        inner_optimizer: any optimizer; no momentum needed.
        density: final density in (0, 1], reached by a cubic at 75 % of the training; or a schedule
            of the density, also tfmot's ``PolynomialDecay`` and ``ConstantSparsity``, which set
            the update steps.
        **settings: further arguments of ``SparseMomentum``.

    Raises:
        TypeError: an argument that ``SparseMomentum`` does not have.
        ValueError: an argument out of range.

    >>> GradualPruning("sgd", 0.1).density
    CubicOverTraining(initial=1.0, final=0.1, begin=0.0, end=0.75)
    """
    check_names("GradualPruning", settings, Settings)
    if not callable(density):
        check_density(density)
        density = CubicOverTraining(density)
    rules: Settings = {"grow": None, "redistribute": None, "initial_masks": "magnitude", **settings}
    return SparseMomentum(inner_optimizer, density, **rules)
