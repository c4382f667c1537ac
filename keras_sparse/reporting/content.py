"""What a report shows: the figures, masks and values of each weight, and those of all."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_sparse.models.layer_speed import LayerSpeed
from keras_sparse.models.plots import Recorded
from keras_sparse.reporting.histogram import Histogram, histogram_of
from keras_sparse.rules.channel_map import ChannelMap, as_taps, channel_map, tap_shares
from keras_sparse.rules.coded_array import pieces
from keras_sparse.rules.found_structure import found_structure


@dataclasses.dataclass(frozen=True)
class Weight:
    """One masked weight.

    Attributes:
        name: its path without the name of the model, which a saved path may lack.
        row: its figures, those of ``summary``.
        structure: what its mask consists of.
        channels: its mask as a picture.
        taps: float array, the share of active weights by tap; None without taps.
        histogram: of its active values; None where bytes hold several weights.
        stored: its bytes in a file of ``save_compressed``; None if unknown.
    """

    name: str
    row: dict[str, Any]
    structure: str
    channels: ChannelMap
    taps: np.ndarray | None
    histogram: Histogram | None
    stored: int | None = None


@dataclasses.dataclass(frozen=True)
class Content:
    """All that a report shows.

    Attributes:
        name: of the model or the file.
        weights: in the order of ``summary``.
        total: of all weights, as in ``summary``; None if there is only a history.
        sizes: ``{what: bytes}``.
        recorded: the densities over a training, or None.
        batch: the batch that ``row["runs_as"]`` and the measurements hold for.
        layers: the time of each sparse layer alone, if it was measured.
        notes: sentences about what the report lacks.
    """

    name: str
    weights: Sequence[Weight] = ()
    total: dict[str, Any] | None = None
    sizes: Mapping[str, int] = dataclasses.field(default_factory=dict)
    recorded: Recorded | None = None
    batch: int | None = None
    layers: Sequence[LayerSpeed] = ()
    notes: Sequence[str] = ()


def weight_of(
    name: str,
    row: dict[str, Any],
    mask: np.ndarray,
    axes: tuple[tuple[int, ...], tuple[int, ...]],
    values: np.ndarray | None,
    stored: int | None = None,
) -> Weight:
    """What a report shows of one weight.

    Args:
        name: as it is shown.
        row: its figures, those of ``summary``.
        mask: bool array.
        axes: those of its inputs and of its outputs.
        values: float array of its shape; None where bytes hold several weights.
        stored: its bytes in a file of ``save_compressed``; None if unknown.
    """
    taps = tap_shares(mask, *axes)
    return Weight(
        name,
        row,
        structure=found_structure(as_taps(mask, *axes)),
        channels=channel_map(mask, *axes),
        taps=taps if taps.size > 1 else None,
        histogram=None if values is None else histogram_of(values[mask]),
        stored=stored,
    )


def compressed_bytes(array: np.ndarray) -> int:
    """Of an array in a file of ``save_compressed``."""
    return sum(map(len, pieces(array)))
