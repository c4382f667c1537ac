"""The methods that the accuracy benchmark compares: presets, their settings and growth windows."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

import keras_sparse as ks

Window = int | str | None


@dataclasses.dataclass(frozen=True)
class Method:
    """A preset of keras_sparse with its defaults, but without an initial scale.

    Attributes:
        preset: name in keras_sparse.
        settings: arguments that differ from the preset's own.
        growth_window: None: dense weight gradients in all steps, as sparse momentum was published;
            "auto": in the last step before an update for growth by the gradient, in the last 100
            for growth by the momentum, in none where nothing grows by gradients.
        every: when masks change, see ``UpdateMasks``; "auto" follows the phases of AC/DC.
    """

    preset: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    growth_window: Window = "auto"
    every: str = "epoch"


DENSE = "dense"
METHODS = {
    "static": Method("StaticSparsity"),
    "SNIP": Method("StaticSparsity", {"initial_masks": "snip"}),
    "SET": Method("SET"),
    "RigL": Method("RigL"),
    "gradual pruning": Method("GradualPruning"),
    "gradual pruning, global": Method("GradualPruning", {"scope": "global"}),
    "AC/DC": Method("ACDC", every="auto"),
    "GraNet": Method("GraNet"),
    "GraNet, momentum": Method("GraNet", {"grow": "momentum"}),
    "sparse momentum": Method("SparseMomentum", growth_window=None),
    "sparse momentum, multiply-adds": Method(
        "SparseMomentum", {"budget": "multiply_adds"}, growth_window=None
    ),
}
NAMES = (DENSE, *METHODS)


def published_window(method: str) -> Window:
    """The growth window of a method unless a run says otherwise; None of the dense training."""
    return None if method == DENSE else METHODS[method].growth_window


def optimizer_of(
    method: str, inner: keras.optimizers.Optimizer, density: float, **settings: Any
) -> ks.SparseMomentum:
    """The optimizer of a method that is not dense.

    Args:
        method: a key of METHODS.
        inner: the optimizer that trains.
        density: active / all weights at the end.
        **settings: further arguments of the preset.
    """
    chosen = METHODS[method]
    return getattr(ks, chosen.preset)(inner, density, **chosen.settings, **settings)
