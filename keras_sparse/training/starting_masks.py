"""An optimizer makes its first masks: those of a file, else what ``initial_masks`` asks for."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import calling_model, optimizer_steps_are_stateless, variables_of
from keras_sparse.rules.given_masks import GivenMasks, check_given, unique_names
from keras_sparse.rules.initial_masks import Kind, check_kind
from keras_sparse.rules.initial_scale import check_initial_scale
from keras_sparse.rules.structure import Structure
from keras_sparse.training import checkpoint
from keras_sparse.training.competing_masks import competing_counts, sensitivity_masks
from keras_sparse.training.counters import NOT_RESTORED
from keras_sparse.training.first_masks import (
    RANDOM_OVER_TRAINED,
    check_readable,
    first_masks,
    notice_of_density,
    of_one_worker,
)
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.looks_trained import looks_trained
from keras_sparse.training.selection import Selection
from keras_sparse.training.state_in_files import StateInFiles
from keras_sparse.training.untrained import scale_untrained


class StartingMasks(StateInFiles):
    """Masks that are made when the optimizer is built.

    Args:
        inner_optimizer: a Keras 3 optimizer or its name.
        selection: which weights get a mask.
        initial_masks: ``"random"``, ``"magnitude"``, ``"nonzero"``, ``"snip"``, or masks by path.
        structure: what masks are made of.
        gradient_average: keeps what momentum the inner optimizer does not, or None.
        seed: of the initial masks; None: drawn as Keras draws seeds, and saved.
        name: of this optimizer.
        initial_scale: ``"auto"`` or None, see ``keras_sparse.rules.initial_scale``.
    """

    def __init__(
        self,
        inner_optimizer: Any,
        selection: Selection,
        initial_masks: Kind,
        structure: Structure,
        gradient_average: GradientAverage | None,
        seed: int | None,
        name: str | None = None,
        initial_scale: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, selection, structure, gradient_average, seed, name)
        self.initial_masks = check_kind(initial_masks)
        self.initial_scale = check_initial_scale(initial_scale)

    scope = "layer"  # or "global": all layers compete where weights are pruned to a density

    def initial_counts(self, variables: Sequence[Any], step: int) -> tuple[list[int], int]:
        """What is active when training starts at this optimizer step.

        Returns:
            Active weights of each variable, in whole groups; and in all, or what all may cost.
        """
        message = f"{type(self).__name__} must say how many weights are active at first."
        raise NotImplementedError(message)

    def _make_masks(self, indices: Sequence[int]) -> None:
        """Makes the first masks of the trained variables with these indices.

        They are those of a file or checkpoint that was read before, else ``initial_masks``.
        """
        for i in indices:
            variable = variables_of(self)[i]
            self.structure.check(variable.path, tuple(variable.shape))
        loaded, self._loaded = self._take_loaded(), None
        if isinstance(loaded, checkpoint.SavedState):
            self._put_back(loaded, indices, goes_on=False)
        elif loaded is not None:
            self.hold_masks_of(indices)
            self.set_weights(loaded)
            self.masks_were_loaded = True
        elif self._was_restored():
            if list(indices) != self.masked_indices:
                self.hold_masks_of(indices)
            for one in self.masked_weights:
                one.check(one.mask)
            self.put_masks(list(self.masks.values()))
            self.use_restored_explored()
        elif self.initial_masks == "snip" and indices:
            self.awaiting = list(indices)  # until `begin_with_batch`
            return
        else:
            self._begin_with(indices, self._first_masks(indices))
        self._fill_dense_layers()

    def begin_anew(self) -> None:
        """Makes the first masks, of the weights that a file or a model has brought."""
        self.begins_anew = False
        if self.masked_weights:  # else they are still to be made
            self._make_masks(self.masked_indices)

    def _can_wait(self) -> bool:
        """Can the next step make the first masks?  One that is traced without state cannot."""
        return self.initial_masks != "snip" and not optimizer_steps_are_stateless()

    def _hold_until_weights(self, indices: Sequence[int]) -> None:
        """Makes no masks yet: Keras compiles a model from a config, and its weights follow.

        They come from a file, with masks, or from ``set_weights`` of a clone, without any.
        """
        self.hold_masks_of(indices)
        self.begin_later()

    def begin_with_batch(
        self,
        sensitivities: Callable[[Sequence[Any]], Sequence[np.ndarray]],
    ) -> None:
        """Makes the first masks of ``initial_masks="snip"``, which wait for a batch of data.

        Args:
            sensitivities: of weights: float arrays of their shapes, not negative.
        """
        indices = self.awaiting
        if self._was_restored():
            self._make_masks(indices)
            return
        weights = [variables_of(self)[i] for i in indices]
        check_readable(self.initial_masks, weights)
        names = unique_names([weight.path for weight in weights])
        scores = dict(zip(names, sensitivities(weights), strict=True))
        _, wanted = self.initial_counts(weights, self.step())
        costs = self.costs_of(weights)
        masks = of_one_worker(sensitivity_masks(scores, wanted, self.structure, costs))
        self._begin_with(indices, masks)
        self._fill_dense_layers()

    def _was_restored(self) -> bool:
        """Has TensorFlow put back a checkpoint, which was read before there were variables?"""
        return self.counter("epoch") != NOT_RESTORED

    def _first_masks(self, indices: Sequence[int]) -> list[np.ndarray]:
        """What ``initial_masks`` says."""
        step, kind = self.step(), self.initial_masks
        if step and kind == "random":
            warnings.warn(RANDOM_OVER_TRAINED, stacklevel=2)
        weights = [variables_of(self)[i] for i in indices]
        if not weights:
            return []
        counts, wanted = self.initial_counts(weights, step)
        if isinstance(kind, GivenMasks):
            return self._given_masks(kind, weights, wanted)
        check_readable(kind, weights)
        costs = self.costs_of(weights)
        if kind == "magnitude" and self.scope == "global":
            counts = competing_counts(weights, wanted, self.structure, costs)
        rng = np.random.default_rng([self.seed, step])
        masks = first_masks(kind, weights, counts, self.structure, rng, costs)
        self._notice = notice_of_density(kind, masks, wanted, self.structure, costs)
        return masks

    def _given_masks(
        self,
        given: GivenMasks,
        weights: Sequence[Any],
        wanted: int,
    ) -> list[np.ndarray]:
        names = unique_names([weight.path for weight in weights])
        masks = given.of(names, [tuple(weight.shape) for weight in weights])
        check_given(names, masks, wanted, self.structure, self.costs_of(weights))
        return of_one_worker(masks)

    def _begin_with(self, indices: Sequence[int], masks: Sequence[np.ndarray]) -> None:
        """Masks the weights; the counters are those of a run that begins at this step."""
        if list(indices) != self.masked_indices:
            self.hold_masks_of(indices)
        self.awaiting = []
        self._reset_counters()
        if self.initial_masks == "random":
            self._look_at_weights(masks)
        self.assign_masks(masks)
        self.open_growth_window(self.grows_by_gradients())

    def _look_at_weights(self, masks: Sequence[np.ndarray]) -> None:
        """Warns of trained weights, and gives untrained ones the scale for these random masks.

        Later, if nobody knows the model by now.
        """
        model = self._model() or calling_model(variables_of(self))
        self._look_is_due = model is None
        if model is None:
            return
        if not self.step() and looks_trained(model, self.masked_variables):
            warnings.warn(RANDOM_OVER_TRAINED, stacklevel=2)
        if self.initial_scale == "auto":
            scale_untrained(model, self.masked_variables, masks)
