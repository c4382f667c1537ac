"""The density asked for, and what it makes of the masks: at first, by a schedule, on request."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from keras_sparse.rules import density as densities
from keras_sparse.rules.all_layers import global_counts
from keras_sparse.rules.asked import Asked, affordable_weights, ask
from keras_sparse.rules.cost_budget import cost_of
from keras_sparse.rules.exact_counts import largest_remainder
from keras_sparse.rules.mask_update import prune_to
from keras_sparse.rules.received import received
from keras_sparse.rules.scores import Score
from keras_sparse.rules.whole_groups import to_whole_groups
from keras_sparse.rules.whole_numbers import is_positive_integer
from keras_sparse.training import schedules
from keras_sparse.training.first_masks import counts_in_groups
from keras_sparse.training.masked_optimizer import MaskedOptimizer
from keras_sparse.training.masked_weight import MaskedWeight
from keras_sparse.training.momentum import reset_momentum
from keras_sparse.training.phases import AlternatingOverTraining
from keras_sparse.training.views import Views


class MasksToDensity(MaskedOptimizer):
    """Brings masks to a density: prunes to a lower one; makes all weights active in dense phases.

    ``SparseMomentum`` sets the attributes, which are described there.
    """

    density: schedules.Schedule
    distribution: Any
    prune: Score | None
    grow: Score | None
    warned_of_density = False  # a schedule of steps goes on after the training: say it once
    announced_stop = -math.inf  # of the training that the user began by `start_training`
    _is_watched = False  # `fit` will say so if nobody updates the masks

    def initial_counts(self, variables: Sequence[Any], step: int) -> tuple[list[int], int]:
        if isinstance(self.density, schedules.OverTraining):
            density = self.density(0.0)
        else:
            density = self._density_at(step)
        asked, costs = self._ask(density, variables), self.costs_of(variables)
        if costs is None:
            counts = counts_in_groups(asked.wanted.tolist(), variables, self.structure)
            return counts, sum(counts)
        shapes = [tuple(variable.shape) for variable in variables]
        most = [self.structure.most_weights(shape) for shape in shapes]
        return affordable_weights(asked, shapes, self.structure, costs, most), asked.budget

    def _ask(self, density: float, variables: Sequence[Any]) -> Asked:
        """What this density asks of these weights together, before it is in whole groups."""
        self.structure.check_density(density, self.distribution)
        names = [variable.path for variable in variables]
        shapes = [tuple(variable.shape) for variable in variables]
        costs = self.costs_of(variables)
        if costs is not None:
            return ask(names, shapes, costs, density, self.distribution)
        counts = densities.active_counts(names, shapes, density, self.distribution)
        return Asked(np.array(counts), sum(counts))

    # --- the training

    def start_training(self, steps: int | None, begun_at: int | None = None) -> None:
        """Says how long the training is that starts now, for schedules that follow it.

        ``fit`` with the callback does it by itself, for each ``fit``. Call it first where several
        ``fit`` are one training: those that end within these steps follow it.

        Args:
            steps: optimizer steps from its beginning to its end; None: not known.
            begun_at: the optimizer step at which it began; None: now.

        Raises:
            ValueError: ``steps`` is not a positive integer, or the optimizer is not built.
        """
        if steps is not None and not is_positive_integer(steps):
            raise ValueError(f"`steps` must be a positive integer. {received(steps=steps)}")
        self.check_built(awaits_batch=True)
        start = self.step() if begun_at is None else begun_at
        self.set_training(start, None if steps is None else start + steps)
        self.warned_of_density = False
        self._is_watched = False
        self.announced_stop = self.counter("training_stop")

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
            ValueError: a density out of range, NaN in weights (names the layer), ``prune=None``,
                an optimizer that is not built.
        """
        densities.check_density(density)
        if self.prune is None:
            message = "`prune=None` means masks that never change"
            raise ValueError(f"{message}. {received(density=density)}")
        self.check_built()
        if self.begins_anew:
            self.begin_anew()
        weights = self.trained_weights()
        rng = np.random.default_rng([self.seed, self.step()])
        counts = self._counts_at(density, weights, rng)
        active = [np.count_nonzero(one.mask) for one in weights]
        if all(n <= most for n, most in zip(active, counts, strict=True)):
            return
        self.change_masks(prune_to(Views(weights), counts, self.prune, rng), weights)

    def density_is_above(
        self,
        density: float,
        masks: Sequence[np.ndarray] | None = None,
    ) -> bool:
        """Are more of the trained weights active, or dearer ones, than this density asks for?

        To a half group.

        Args:
            density: active / all masked weights that are trained, in (0, 1].
            masks: of the weights that are trained, in place of the optimizer's.
        """
        weights = self.trained_weights()
        if not weights:
            return False
        shown = (one.mask for one in weights) if masks is None else masks
        spent = cost_of(shown, [one.cost for one in weights])
        above = spent - self._asked_at(density, weights).budget
        return 2 * above > self._dearest_group(weights)

    def _dearest_group(self, weights: Sequence[MaskedWeight]) -> int:
        """What the dearest group of these weights costs."""
        return max(self.structure.group_size(one.shape) * one.cost for one in weights)

    def _is_dense_phase(self, step: int) -> bool:
        is_alternating = isinstance(self.density, AlternatingOverTraining)
        return is_alternating and self._density_at(step) == 1.0

    def _make_dense(self, weights: Sequence[MaskedWeight]) -> None:
        """All weights become active; momenta are from before the sparse phase, and are reset."""
        if not all(one.mask.all() for one in weights):
            self.change_masks([np.ones(one.shape, bool) for one in weights], weights)
            reset_momentum(self.inner_optimizer)

    def _asked_at(self, density: float, weights: Sequence[MaskedWeight]) -> Asked:
        """What this density asks of these weights, of all that share it."""
        asked, chosen = self._ask(density, self.masked_variables), {w.position for w in weights}
        others = sum(
            math.ceil(asked.wanted[one.position] * one.cost)
            for one in self.masked_weights
            if one.position not in chosen
        )
        positions = [one.position for one in weights]
        return Asked(asked.wanted[positions], asked.budget - others)

    def _counts_at(
        self,
        density: float,
        weights: Sequence[MaskedWeight],
        rng: np.random.Generator,
    ) -> list[int]:
        """Active weights, in whole groups, that this density leaves before anything is grown."""
        asked = self._asked_at(density, weights)
        costs = self.costs_of([one.variable for one in weights])
        if self.scope == "global" and weights:
            prune = cast(Score, self.prune)  # None has a constant density
            return global_counts(Views(weights), asked.budget, prune, rng, costs is not None)
        active = np.array([np.count_nonzero(one.mask) for one in weights])
        shapes, wanted, only_up = [one.shape for one in weights], asked.wanted, self.grow is None
        if costs is not None:
            return affordable_weights(
                asked, shapes, self.structure, costs, active.tolist(), only_up
            )
        if self.grow is not None and len(active):  # keep where growth has put them
            total = min(int(wanted.sum()), int(active.sum()))
            wanted = largest_remainder(active * (total / active.sum()), total, active)
        return to_whole_groups(wanted, shapes, self.structure, active, only_up)

    def _density_at(self, step: int) -> float:
        return schedules.value_at(self.density, step, *self._training_span(), "density")

    def _training_span(self) -> tuple[int, int]:
        return self.counter("training_start"), self.counter("training_stop")
