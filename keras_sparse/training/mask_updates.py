"""One mask update on request, and the growth window before it."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from keras_sparse.compute.free_memory import release_memory
from keras_sparse.conversion.progress import progress
from keras_sparse.rules.cost_budget import cost_of
from keras_sparse.rules.mask_update import prune_to, update_masks
from keras_sparse.rules.scores import Score, Share
from keras_sparse.training import growth_window as windows
from keras_sparse.training import schedules
from keras_sparse.training.asked_density import MasksToDensity
from keras_sparse.training.masked_weight import MaskedWeight
from keras_sparse.training.phases import AlternatingOverTraining
from keras_sparse.training.views import Views


class MaskUpdates(MasksToDensity):
    """Updates masks by the rules; ``SparseMomentum`` sets the attributes and describes them."""

    prune_rate: schedules.Schedule
    redistribute: Share | None
    growth_window: windows.Window
    updates_are_planned = False  # somebody calls `update_masks`: the callback, or a custom loop

    def growth_window_steps(self) -> float:
        """Optimizer steps before an update in which missing weights get gradients.

        0: none; infinity: all.
        """
        shares = self.redistribute if self.grow else None
        reads = windows.read_of_missing(self.prune, shares, self.grow)
        if isinstance(self.density, AlternatingOverTraining):
            reads |= {"second moment"}  # of weights that become active again
        decay = None if self._gradient_average is None else self._gradient_average.decay
        return windows.steps_of(self.growth_window, reads, self.inner_optimizer, decay)

    def grows_by_gradients(self) -> bool:
        return self.growth_window_steps() > 0

    def update_masks(self) -> None:
        """One mask update: prune, redistribute, grow, and mask the weights.

        Runs on the host; in a custom loop call it between steps, outside of ``tf.function`` and of
        replica contexts.

        Raises:
            ValueError: NaN in weights, momentum or gradient (names the layer); a closed growth
                window; an optimizer that is not built. The masks are as before then.
        """
        self.check_built()
        self.updates_are_planned = True
        if self.begins_anew:
            self.begin_anew()
        if self.prune is None:
            return
        if not self.can_grow():
            raise ValueError(
                "The growth window is closed: missing weights have had no gradients to grow by. "
                "Call `optimizer.open_growth_window(True)` "
                f"{self.growth_window_steps()} steps before an update. "
                f"Received: an update at step {self.step()}"
            )
        step = self.step()
        with progress("mask update"):
            self._update(self.prune, self.trained_weights(), step)
            release_memory(self.masked_bytes())
        self.set_counter("last_update", step)

    def _update(self, prune: Score, weights: Sequence[MaskedWeight], step: int) -> None:
        if weights and self._is_dense_phase(step):
            self._make_dense(weights)
        elif weights:
            rng = np.random.default_rng([self.seed, step])
            self.change_masks(self._next_masks(prune, weights, step, rng), weights)

    def _next_masks(
        self, prune: Score, weights: Sequence[MaskedWeight], step: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        masks: list[np.ndarray] | None = None
        layers = Views(weights)
        if callable(self.density):
            counts = self._counts_at(self._density_at(step), weights, rng)
            masks = prune_to(layers, counts, prune, rng)
            if self.grow is None:
                return masks
            layers = Views(weights, masks)
        rate = schedules.value_at(self.prune_rate, step, *self._training_span(), "prune_rate")
        grow = cast(Score, self.grow)  # None needs a density schedule, see `check_rules`
        budget = self._budget_of_update(weights, masks, step)
        return update_masks(layers, rate, prune, self.redistribute, grow, rng, budget)

    def _budget_of_update(
        self, weights: Sequence[MaskedWeight], masks: Sequence[np.ndarray] | None, step: int
    ) -> int | None:
        """What these weights may cost after the update; None: their number stays the same.

        Where blocks differ in size, the number of weights is a budget, too. The budget is what they
        cost before, and what an earlier update left of the density asked for. Masks of another
        density, which a user has set or a file has brought, keep theirs.

        Args:
            weights: the weights that are trained.
            masks: their masks before the update; None: the optimizer's.
            step: the optimizer step.
        """
        differ = any(self.structure.is_ragged(one.shape) for one in weights)
        if self.budget == "weights" and not differ:
            return None
        shown = [one.mask for one in weights] if masks is None else masks
        spent = cost_of(shown, [one.cost for one in weights])
        frozen = [one for one in self.masked_weights if not one.is_trained]
        asked = self._ask(self._density_at(step), self.masked_variables).budget
        left = asked - spent - cost_of((w.mask for w in frozen), [w.cost for w in frozen])
        return spent + (left if left in range(self._dearest_group(self.masked_weights)) else 0)
