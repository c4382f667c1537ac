"""Masks that can be seen, replaced and applied: weights hold the zeros, gradients stay dense.

Frozen weights (``trainable = False``) keep their masks and are left as they are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse._keras import has_value, to_numpy
from keras_sparse.rules.cost_budget import cost_of
from keras_sparse.rules.reconciled_masks import reconcile
from keras_sparse.rules.structure import BlockShape
from keras_sparse.training import masked_weight
from keras_sparse.training.mask_variables import MaskVariables
from keras_sparse.training.masked_weight import MaskedWeight
from keras_sparse.training.uninterrupted import finish

Masks = Sequence[np.ndarray]
Weights = Sequence[MaskedWeight]


class MaskHolder(MaskVariables):
    """Shows, replaces and applies the masks; arguments as for MaskVariables."""

    # --- to see

    @property
    def block_shape(self) -> BlockShape:
        """(in, out) channels of the masks' blocks over all taps; None: any other ``structure``."""
        return self.structure.block_shape

    @property
    def masked_variables(self) -> list[Any]:
        """The weights that have a mask, in the order of ``masks``."""
        return [one.variable for one in self.masked_weights]

    @property
    def masked_names(self) -> list[str]:
        """Paths of these weights; the second weight of the same path is ``path#2``."""
        return [one.name for one in self.masked_weights]

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """{path of the weight: bool array of its shape}, copies; see ``masked_names``."""
        return {one.name: one.mask for one in self.masked_weights}

    def trained_weights(self) -> list[MaskedWeight]:
        """The masked weights that are trainable now: mask updates leave the frozen ones."""
        return [one for one in self.masked_weights if one.is_trained]

    def masked_bytes(self) -> int:
        """Of the masked weights, in float32."""
        return sum(4 * one.size for one in self.masked_weights)

    def total_density(self) -> float:
        """Active / all masked weights, frozen ones included; 1.0 where no weight is masked."""
        active = sum(int(np.count_nonzero(one.mask)) for one in self.masked_weights)
        return active / sum(one.size for one in self.masked_weights) if self.masked_weights else 1.0

    def budget_density(self) -> float:
        """The density in the budget's terms, frozen weights included.

        It is ``total_density``; with ``budget="multiply_adds"``, the multiply-adds of active
        weights / those of all masked weights.

        Raises:
            ValueError: the multiply-adds are unknown.
        """
        if self.budget == "weights" or not self.masked_weights:
            return self.total_density()
        costs = [one.cost for one in self.masked_weights]
        dense = sum(one.size * one.cost for one in self.masked_weights)
        return cost_of((one.mask for one in self.masked_weights), costs) / dense

    # --- to replace

    def check_built(self, awaits_batch: bool = False) -> None:
        """Raises ValueError while there are no masks; True: those that await a batch may be."""
        if not self.built or (self.awaiting and not awaits_batch):
            raise ValueError(
                "The optimizer has no masks yet. Call `optimizer.build(model)` first, or train. "
                f"Received: {self}"
            )

    def set_masks(self, masks: Mapping[str, np.ndarray]) -> None:
        """Replaces masks and masks the weights.

        Args:
            masks: {path: bool array of the weight's shape}; weights that are not named keep theirs.

        Raises:
            ValueError: unknown path, other shape or dtype, no active weight, blocks that are not
                whole. Nothing is changed then. Or an optimizer that is not built.
            TypeError: no map.
        """
        if not isinstance(masks, Mapping):
            raise TypeError(
                "`masks` must map paths of weights to bool arrays, as `optimizer.masks` does. "
                f"Received: masks of type {type(masks).__name__}"
            )
        self.check_built()
        if self.begins_anew:
            self.begin_anew()
        masks = {path: np.asarray(mask) for path, mask in masks.items()}
        for path in masks:
            if path not in self.masked_names:
                received = f"{path!r}; masked are {self.masked_names}"
                raise ValueError(f"`masks` names a weight that has no mask. Received: {received}")
        weights = [one for one in self.masked_weights if one.name in masks]
        for one in weights:
            one.check(masks[one.name])
        new = [masks[one.name] for one in weights]
        self.watchers.tell(self, weights, new)
        finish(lambda: self._put_and_apply(new, weights))

    def _put_and_apply(self, masks: Masks, weights: Weights) -> None:
        self.put_masks(masks, weights)
        masked_weight.apply_masks(weights)

    def change_masks(self, masks: Masks, weights: Weights) -> None:
        """``assign_masks`` by an update: the watchers see what changes."""
        self.watchers.tell(self, weights, masks)
        self.assign_masks(masks, weights)

    def assign_masks(self, masks: Masks, weights: Weights | None = None) -> None:
        """Replaces masks at once, and masks the weights that are trainable.

        Args:
            masks: bool arrays.
            weights: the masked weights they belong to; None: all, in order.
        """
        finish(lambda: self._assign(masks, weights))

    def _assign(self, masks: Masks, weights: Weights | None) -> None:
        self.put_masks(masks, weights)
        if all(map(has_value, self.masked_variables)):  # else the step that makes them masks them
            self.apply_masks()

    def put_masks(self, masks: Masks, weights: Weights | None = None) -> None:
        """``assign_masks``, the optimizer's and the layers', that leaves the weights."""
        self.begins_anew = False
        weights = self.masked_weights if weights is None else weights
        keep_explored = self.has_trained()
        for one, mask in zip(weights, masks, strict=True):
            one.assign(mask, keep_explored)

    def begin_anew(self) -> None:
        """Makes the first masks again, see ``begins_anew``."""
        raise NotImplementedError

    def has_trained(self) -> bool:
        """Was a step made?  What is active before any step does not count as explored."""
        return self.step() > 0

    def step(self) -> int:
        """Optimizer steps made so far.

        Micro-batches of an accumulated gradient and skipped steps do not count.
        """
        return int(to_numpy(self.iterations))

    def apply_masks(self) -> None:
        """Sets missing weights to 0 in every masked weight that is trainable, on every replica."""
        masked_weight.apply_masks(self.trained_weights())
        for one in self.trained_weights():
            if one.kernel_mask is not None:
                one.kernel_mask.weights_are_masked()

    # --- where weights were put back without masks

    def follow_weights(self) -> None:
        """Changes the masks where weights of an earlier epoch were put back.

        See ``fitting_masks``.
        """
        masks = list(self.masks.values())
        fitting = self.fitting_masks(masks)
        if any(new is not old for new, old in zip(fitting, masks, strict=True)):
            self.assign_masks(fitting)

    def fitting_masks(self, masks: Sequence[np.ndarray] | None = None) -> list[np.ndarray]:
        """All masks, or those of an earlier epoch where its weights were put back.

        See ``reconcile``. Frozen ones as they are.
        """
        masks = list(self.masks.values() if masks is None else masks)
        trained = self.trained_weights()
        fitting = reconcile(
            [one.name for one in trained],
            [one.value for one in trained],
            [masks[one.position] for one in trained],
            self.structure,
            lambda: self.costs_of([one.variable for one in trained]),
        )
        for one, mask in zip(trained, fitting, strict=True):
            masks[one.position] = mask
        return masks
