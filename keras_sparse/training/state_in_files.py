"""What a sparse run saves beside the weights, and how its masks follow what is put back.

A file may be read before the optimizer is built: its values wait until then.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import optimizer_steps_are_stateless, variables_of
from keras_sparse.rules.structure import Structure
from keras_sparse.training import checkpoint, loss_scale_files
from keras_sparse.training.counters import COUNTERS, NOT_RESTORED
from keras_sparse.training.gradient_average import GradientAverage
from keras_sparse.training.masked_steps import MaskedSteps
from keras_sparse.training.seed import Seed
from keras_sparse.training.selection import Selection

SEED = "seed"  # saved with the counters; files of version 0.1.0 may have none
# and a number: a variable of a .h5 file that was loaded, and saved before it was used
OF_H5_FILE = "value_"
NOT_BEGUN = "not_begun"  # the optimizer had no masks yet: they are made of the weights of the file


class StateInFiles(MaskedSteps):
    """Saves masks, counters and seed, and puts them back; arguments as for MaskedOptimizer."""

    def __init__(
        self,
        inner_optimizer: Any,
        selection: Selection,
        structure: Structure,
        gradient_average: GradientAverage | None,
        seed: int | None,
        name: str | None = None,
    ) -> None:
        super().__init__(inner_optimizer, selection, structure, gradient_average, name)
        self._seed = Seed(seed)
        self.masks_were_loaded = False  # from a file: it says which weights are masked
        # a SavedState, or all values of a .h5 file, that wait for the optimizer to be built
        self._loaded: Any = None
        # gives the variables that it has before it is built; not tracked, as some are not its own
        self._variables_before: Callable[[], list[Any]] = list

    @property
    def seed(self) -> int:
        """Of random masks and scores."""
        return self._seed.value

    def has_trained(self) -> bool:
        return self.masks_were_loaded or super().has_trained()

    # --- to a file

    def _state(self) -> checkpoint.SavedState:
        counters = {name: self.counter(name) for name in self.counters} | {SEED: self.seed}
        trainable = [(variable.path, tuple(variable.shape)) for variable in variables_of(self)]
        return checkpoint.SavedState(
            [one.saved() for one in self.masked_weights], counters, trainable
        )

    def save_own_variables(self, store: Any) -> None:
        """Masks and counters, to a Keras weight store.

        What was loaded and has not been used is saved again.
        """
        has_begun = not (self.awaiting or self.begins_anew)
        if self.built and has_begun:
            self._state().write(store)
        elif self._loaded is None or not has_begun:
            store[NOT_BEGUN] = np.asarray(True)  # `initial_masks` is in the config
        elif isinstance(self._loaded, checkpoint.SavedState):
            self._loaded.write(store)
        else:
            for i, value in enumerate(self._loaded):
                store[f"{OF_H5_FILE}{i}"] = value

    # --- from a file

    def load_own_variables(self, store: Any) -> None:
        """Reads masks and counters of a Keras weight store.

        Where the optimizer is not built they wait until it is.

        Raises:
            ValueError: no masks in the store, and the optimizer has some; masks of another model,
                or not made of whole blocks.
        """
        parts = self.inner_optimizer, self._gradient_average
        inside = loss_scale_files.values_inside(store, parts)
        if NOT_BEGUN in list(store.keys()) or inside == []:
            self._loaded, self.masks_were_loaded = None, False
            if self.built:
                self._begin_with_file()
            return
        loaded = checkpoint.read(store, (*COUNTERS, SEED))
        waiting = [key for key in list(store.keys()) if key.startswith(OF_H5_FILE)]
        values = inside or [store[f"{OF_H5_FILE}{i}"] for i in range(len(waiting))]
        if not self.built:
            self._loaded = loaded or values or None
            # without masks: dense weights for a run that has not begun; `initial_masks` will look
            # at them
            return
        if values:
            self._take_values(values)
            return
        if loaded is None and self.awaiting:
            return
        if loaded is None:
            raise ValueError(
                "The checkpoint holds no masks and this is a sparse run. To go on from its "
                "weights, load them before the optimizer is built, with "
                'SparseMomentum(..., initial_masks="nonzero") if they are sparse, "magnitude" '
                f"if they are dense.{loss_scale_files.advice()} "
                f"Received: optimizer state {sorted(store.keys())}"
            )
        goes_on = loaded.is_list_of(variables_of(self))
        self._put_back(loaded, self.awaiting or self.masked_indices, goes_on)

    def _take_values(self, values: list[np.ndarray]) -> None:
        """Takes all values, in the order of ``variables``; masks may be among them."""
        if self.awaiting and len(values) != len(self.variables):
            self.hold_masks_of(self.awaiting)
        self.set_weights(values)
        self.masks_were_loaded = True

    def _begin_with_file(self) -> None:
        self.begin_later()
        if optimizer_steps_are_stateless() or self.step() > 0:
            self.begin_anew()  # its next step, which is traced, cannot
            self.begin_later()  # layers may be loaded after the optimizer

    def begin_later(self) -> None:
        """The next step, or ``attach``, makes the first masks, unless a file brings some before."""
        self.begins_anew = True
        self.set_counter("epoch", NOT_RESTORED)

    def _take_loaded(self) -> Any:
        """What waits for the masks; values that were saved before there were masks are set now."""
        loaded, before = self._loaded, self._variables_before()
        if not isinstance(loaded, list) or len(loaded) != len(before):
            return loaded
        for variable, value in zip(before, loaded, strict=True):
            variable.assign(value)
        return None

    def set_weights(self, weights: Any) -> None:
        """Sets all variables, in the order of ``variables``.

        Those of a .h5 file wait until the optimizer is built.
        """
        if not self.built:
            self._loaded = [np.asarray(value) for value in weights]
            return
        super().set_weights(weights)
        self.put_masks(list(self.masks.values()))

    def _put_back(
        self,
        loaded: checkpoint.SavedState,
        chosen: Sequence[int],
        goes_on: bool,
    ) -> None:
        """Takes masks of a file, and leaves the weights.

        Args:
            loaded: masks and counters.
            chosen: indices of the weights that would be masked without the file.
            goes_on: True: takes the counters, too. Keras skips the state of an inner optimizer
                that was not built, or built for other weights; then the run begins anew, with the
                masks of the file.
        """
        variables = variables_of(self)
        saved = loaded.masks_for(variables, chosen)
        for i, one in saved.items():
            self.structure.check_mask(variables[i].path, one.mask)
        if sorted(saved) != self.masked_indices:
            self.hold_masks_of(sorted(saved))
        for weight in self.masked_weights:
            weight.load(saved[weight.index])
        self._reset_counters()
        if goes_on:
            for name, value in loaded.counters.items():
                if name == SEED:
                    self._seed.go_on_with(value)
                else:
                    self.set_counter(name, value)
        self.open_growth_window(loaded.counters.get("window_opened", 0) >= 0)
        self.masks_were_loaded, self.begins_anew = True, False
        self._notice, self._doubt = None, None
        self._fill_dense_layers()
