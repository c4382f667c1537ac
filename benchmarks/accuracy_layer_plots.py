"""Plots of layers in the accuracy benchmark's records: densities, class specialisation."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.accuracy_panels import network_title, panels
from benchmarks.accuracy_tables import Record, Row, name_of, of_setting, order, row_of, settings_of

BINS = np.linspace(0.09, 0.51, 29)  # of class specialisation; the last one holds all above, too
MOST_LABELS = 12


def layers_over_time(own: Sequence[Record]) -> Figure | None:
    """The density of each layer by epoch, a panel for each method and density.

    Of the longest training, its first seed.
    """
    chosen: dict[Row, Record] = {}
    for record in sorted(own, key=lambda r: (-r["epochs"], r["seed"])):
        if _changes(record["densities"]) and record["initial_scale"] is None:
            chosen.setdefault(row_of(record), record)
    if not chosen:
        return None
    rows = sorted(chosen, key=lambda row: (order(row)[1:], -row.density))
    figure, axes = panels(len(rows), height=3.2)
    for each, row in zip(axes, rows, strict=True):
        _draw_layers(each, chosen[row])
        name = f"{network_title(chosen[row]['network'])}, {name_of(row)}"
        each.set_title(f"{name}, {100 * row.density:g} %", fontsize="small")
    return figure


def _changes(densities: Any) -> bool:
    return bool(densities) and any(row != densities[0] for row in densities)


def _draw_layers(axes: Any, record: Record) -> None:
    densities, paths = np.array(record["densities"]), list(record["multiply_adds"])
    for path, values in zip(paths, densities.T, strict=True):
        layer = path.removesuffix("/kernel").split("/")[-1]
        axes.plot(np.arange(1, 1 + len(values)), 100 * values, label=layer, linewidth=1.2)
    axes.set(yscale="log", xlabel="epoch", ylabel="active weights, %")
    if len(paths) <= MOST_LABELS:
        axes.legend(fontsize="x-small")


def class_histograms(own: Sequence[Record]) -> Figure | None:
    """Channels by class specialisation, dense and sparse momentum, a panel for each layer.

    Of the longest training, all seeds.
    """
    kinds = ("dense", "sparse momentum")
    special = [r for r in own if r["specialisation"] and r["method"] in kinds]
    groups = [of_setting(special, setting) for setting in settings_of(special)]
    groups = [found for found in groups if len({record["method"] for record in found}) == 2]
    if not groups:
        return None
    layers = list(groups[0][0]["specialisation"])
    figure, axes = panels(len(layers), height=3.2)
    for each, layer in zip(axes, layers, strict=True):
        _draw_histograms(each, groups[0], layer)
        each.set_title(f"{network_title(groups[0][0]['network'])}, {layer}", fontsize="small")
    return figure


def _draw_histograms(axes: Any, found: Sequence[Record], layer: str) -> None:
    for density in sorted({record["density"] for record in found}, reverse=True):
        runs = [record for record in found if record["density"] == density]
        values = [value for run in runs for value in run["specialisation"][layer]]
        if values:
            name = "dense" if density == 1 else f"{100 * density:g} %"
            label = f"{name}: mean {statistics.mean(values):.3f}"
            options: Any = {"weights": np.full(len(values), 100 / len(values)), "label": label}
            axes.hist(np.clip(values, None, BINS[-1] - 1e-9), BINS, histtype="step", **options)
    axes.set(xlabel="class specialisation", ylabel="channels, %")
    axes.legend(fontsize="x-small")
