"""The density asked for, and what it makes of the masks: at first, by a schedule, on request."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from keras_sparse.rules import density as densities
from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.mask_update import prune_to
from keras_sparse.rules.scores import Score
from keras_sparse.rules.whole_groups import to_whole_groups
from keras_sparse.training import schedules
from keras_sparse.training.masked_optimizer import MaskedOptimizer
from keras_sparse.training.masked_weight import MaskedWeight, Views
from keras_sparse.training.momentum import reset_momentum
from keras_sparse.training.phases import AlternatingOverTraining


class MasksToDensity(MaskedOptimizer):
    """Brings masks to a density: prunes to a lower one; makes all weights active in dense phases.

    ``SparseMomentum`` sets the attributes, which are described there.
    """

    density: schedules.Schedule
    distribution: Any
    prune: Score | None
    grow: Score | None
    warned_of_density = False  # a schedule of steps goes on after the training: say it once
    announced_stop = -1  # of the training that `start_training` began; set by the user
    _is_watched = False  # `fit` will say so if nobody updates the masks

    def initial_counts(
        self,
        names: Sequence[str],
        shapes: Sequence[tuple[int, ...]],
        step: int,
    ) -> list[int]:
        if isinstance(self.density, schedules.OverTraining):
            density = self.density(0.0)
        else:
            density = self._density_at(step)
        return densities.active_counts(names, shapes, density, self.distribution)

    # --- the training

    def start_training(self, steps: int | None, begun_at: int | None = None) -> None:
        """Says how long the training is that starts now, for schedules that follow it.

        ``fit`` with the callback does it by itself, for each ``fit``. Call it first where several
        ``fit`` are one training: those that end within these steps follow it.

        Args:
            steps: optimizer steps from its beginning to its end; None: not known.
            begun_at: the optimizer step at which it began; None: now.
        """
        check_positive(steps, "steps")
        start = self.step() if begun_at is None else begun_at
        self.set_training(start, None if steps is None else start + steps)
        self.warned_of_density = (
            False  # a schedule of steps goes on after the training: say it once
        )
        self._is_watched = False  # `fit` will say so if nobody updates the masks
        self.announced_stop = -1 if steps is None else start + steps

    def set_training(self, start: int, stop: int | None) -> None:
        """The steps at which the training begins and ends."""
        self.set_counter("training_start", start)
        self.set_counter("training_stop", -1 if stop is None else stop)

    # --- to a density

    def prune_to_density(self, density: float) -> None:
        """Prunes to this density where more weights are active; grows none, and needs no gradient.

        Frozen weights keep their masks: the density is that of the weights that are trained.

        Args:
            density: active / all masked weights that are trained, in (0, 1].

        Raises:
            ValueError: a density out of range, NaN in weights (names the layer), ``prune=None``.
        """
        densities.check_density(density)
        if self.prune is None:
            message = "`prune=None` means masks that never change"
            raise ValueError(f"{message}. Received: density={density!r}")
        if self.begins_anew:
            self.begin_anew()
        weights = self.trained_weights()
        rng = np.random.default_rng([self.seed, self.step()])
        counts = self._counts_at(density, weights, rng)
        active = [np.count_nonzero(one.mask) for one in weights]
        if all(n <= most for n, most in zip(active, counts, strict=True)):
            return
        self.assign_masks(prune_to(Views(weights), counts, self.prune, rng), weights)

    def density_is_above(
        self,
        density: float,
        masks: Sequence[np.ndarray] | None = None,
    ) -> bool:
        """Are more of the trained weights active than this density asks for?  To a half group.

        Args:
            density: active / all masked weights that are trained, in (0, 1].
            masks: of the weights that are trained, in place of the optimizer's.
        """
        weights = self.trained_weights()
        sizes = [self.structure.group_size(one.shape) for one in weights]
        shown = (one.mask for one in weights) if masks is None else masks
        active = sum(int(np.count_nonzero(mask)) for mask in shown)
        return active > sum(self._wanted_at(density, weights)) + max(sizes, default=1) // 2

    def _is_dense_phase(self, step: int) -> bool:
        is_alternating = isinstance(self.density, AlternatingOverTraining)
        return is_alternating and self._density_at(step) == 1.0

    def _make_dense(self, weights: Sequence[MaskedWeight]) -> None:
        """All weights become active; momenta are from before the sparse phase, and are reset."""
        if not all(one.mask.all() for one in weights):
            self.assign_masks([np.ones(one.shape, bool) for one in weights], weights)
            reset_momentum(self.inner_optimizer)

    def _wanted_at(self, density: float, weights: Sequence[MaskedWeight]) -> list[int]:
        """Active weights that this density gives these ones, of all that share it."""
        names = [variable.path for variable in self.masked_variables]
        shapes = [one.shape for one in self.masked_weights]
        counts = densities.active_counts(names, shapes, density, self.distribution)
        return [counts[one.position] for one in weights]

    def _counts_at(
        self,
        density: float,
        weights: Sequence[MaskedWeight],
        rng: np.random.Generator,
    ) -> list[int]:
        """Active weights, in whole groups, that this density leaves before anything is grown."""
        wanted = np.array(self._wanted_at(density, weights))
        if self.scope == "global" and weights:
            prune = cast(Score, self.prune)  # None has a constant density
            return global_counts(Views(weights), int(wanted.sum()), prune, rng)
        active = np.array([np.count_nonzero(one.mask) for one in weights])
        if self.grow is not None and len(active):  # keep where growth has put them
            total = min(int(wanted.sum()), int(active.sum()))
            wanted = densities.largest_remainder(active * (total / active.sum()), total, active)
        shapes = [one.shape for one in weights]
        only_up = self.grow is None
        return to_whole_groups(wanted, shapes, self.structure, active, only_up)

    def _density_at(self, step: int) -> float:
        density = schedules.value_at(self.density, step, *self._training_span(), "density")
        densities.check_density(density)
        return density

    def _training_span(self) -> tuple[int, int]:
        return self.counter("training_start"), self.counter("training_stop")


def check_positive(value: Any, argument: str) -> int | None:
    """Returns a positive integer or None; raises ValueError for anything else."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value <= 0:
        raise ValueError(f"`{argument}` must be a positive integer. Received: {argument}={value!r}")
    return int(value)
