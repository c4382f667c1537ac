"""The optimizers of a model that mask kernels, whatever optimizers are wrapped around them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_sparse.rules.structure import Structure


class MaskOwner:
    """An optimizer that masks kernels, as layers and copies of models see it.

    Attributes:
        masked_variables: the weights that it masks, once it is built.
        masks: {name of a masked weight: its mask, a bool array, True = active}, in that order.
        structure: what masks are made of.
        growth_batch: share of a batch that missing weights take their gradients from.
        growth_window_steps: a method: steps before an update in which missing weights get
            gradients; infinity: all.
    """

    growth_batch = 1.0

    if TYPE_CHECKING:
        built: bool
        structure: Structure

        @property
        def masked_variables(self) -> Sequence[Any]: ...
        def growth_window_steps(self) -> float: ...
        @property
        def masks(self) -> Mapping[str, np.ndarray]: ...


def mask_owner_of(model: keras.Model) -> MaskOwner | None:
    """The first one inside the optimizer that a model is compiled with; None if there is none."""
    return next(iter(mask_owners_inside(getattr(model, "optimizer", None))), None)


def mask_owners_of(model: keras.Model) -> list[MaskOwner]:
    """Those inside the compiled optimizer; without one, those that are attributes of the model.

    Attributes count, too, in lists and dictionaries.
    """
    found = mask_owners_inside(getattr(model, "optimizer", None))
    if found:
        return found
    own: list[Any] = []
    for value in vars(model).values():
        is_list = isinstance(value, list | tuple)
        own += value.values() if isinstance(value, Mapping) else value if is_list else [value]
    optimizers = [value for value in own if isinstance(value, keras.optimizers.Optimizer)]
    return _once([inside for one in optimizers for inside in mask_owners_inside(one)])


def mask_owners_inside(optimizer: Any) -> list[MaskOwner]:
    """All in an optimizer of optimizers, itself included; an optimizer of None has none."""
    if optimizer is None or isinstance(optimizer, MaskOwner):
        return [] if optimizer is None else [optimizer]
    inner = getattr(optimizer, "inner_optimizer", None)
    parts = [inner, *(getattr(optimizer, "optimizers", None) or ())]
    return _once([inside for part in parts for inside in mask_owners_inside(part)])


def _once(owners: Sequence[MaskOwner]) -> list[MaskOwner]:
    return list({id(owner): owner for owner in owners}.values())
