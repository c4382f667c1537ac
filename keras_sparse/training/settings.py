"""The arguments of SparseMomentum that presets and the callback pass on, with their types."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

from keras_sparse.rules.received import received
from keras_sparse.rules.structure import BlockShape, Structure


class CommonSettings(TypedDict, total=False):
    """Arguments of ``SparseMomentum`` but the optimizer, the density and the rules.

    They are described there, and have their defaults.
    """

    prune_rate: Any
    budget: str
    distribution: Any
    scope: str
    sparse: Any
    dense: Any
    initial_masks: Any
    block_shape: BlockShape
    structure: Structure | None
    gradient_momentum: float | None
    growth_window: int | str | None
    growth_batch: float
    initial_scale: str | None
    seed: int | None
    name: str | None


class Settings(CommonSettings, total=False):
    """Those and the rules."""

    prune: Any
    redistribute: Any
    grow: Any


class AllSettings(Settings, total=False):
    """Those and the density: all arguments of ``SparseMomentum`` but ``inner_optimizer``."""

    density: Any


def check_names(
    function: str, settings: Mapping[str, Any], allowed: type, own: Iterable[str] = ()
) -> None:
    """Raises TypeError for names that are no settings, with names like them.

    Args:
        function: the name of what was called.
        settings: its keyword arguments.
        allowed: the TypedDict of those that it takes.
        own: further arguments that it has, to suggest.
    """
    for name in settings:
        names = [*allowed.__annotations__, *own]
        if name in allowed.__annotations__:
            continue
        if name in AllSettings.__annotations__:
            raise TypeError(
                f"{function}() has no argument `{name}`: it is what {function} stands for. "
                f"Use SparseMomentum for rules of your own. {received(**{name: settings[name]})}"
            )
        close = next(iter(difflib.get_close_matches(name, names)), None)  # the closest
        hint = f"Did you mean `{close}`?" if close else f"It takes {sorted(names)}."
        raise TypeError(
            f"{function}() has no argument `{name}`. {hint} {received(**{name: settings[name]})}"
        )


def check_has_density(settings: Mapping[str, Any]) -> None:
    """Raises TypeError for settings of a new SparseMomentum without its density."""
    if "density" not in settings:
        raise TypeError(
            "`density` must be set beside other settings: UpdateMasks(density=...) puts a "
            "SparseMomentum around the compiled optimizer. "
            f"Received: {sorted(settings)}"
        )
