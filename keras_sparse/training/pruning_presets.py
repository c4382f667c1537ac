"""Presets whose density falls in the training: GradualPruning, GraNet and AC/DC.

They take the same arguments as those in ``presets.py``.
"""

from collections.abc import Sequence
from typing import Any, Unpack

from keras_sparse.rules.density import check_density
from keras_sparse.rules.received import received
from keras_sparse.training.phases import alternating
from keras_sparse.training.schedules import CubicOverTraining
from keras_sparse.training.settings import Settings, check_names
from keras_sparse.training.sparse_momentum import SparseMomentum


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
    return SparseMomentum(inner_optimizer, _falling(density, initial_density), **rules)


def _falling(density: Any, initial: float | None) -> Any:
    """GraNet's schedule of the density.

    Args:
        density: final density in (0, 1], or the schedule.
        initial: density at the start, in [density, 1]; None: 0.5, or ``density`` if it is higher.

    Raises:
        ValueError: ``initial`` below ``density``, or beside a schedule.
    """
    if callable(density):
        if initial is not None:
            raise ValueError(
                "`initial_density` is where the schedule of a number begins; a schedule says so "
                f"itself. {received(initial_density=initial, density=density)}"
            )
        return density
    check_density(density)
    start = max(0.5, density) if initial is None else initial
    check_density(start, "initial_density")
    if start < density:
        message = f"`initial_density` must be at least `density`, {density!r}"
        raise ValueError(f"{message}. {received(initial_density=start)}")
    return CubicOverTraining(density, start, end=0.5)


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
