"""Plots of the accuracy benchmark's records: errors, operations, densities of layers, class specialisation.

    python benchmarks/accuracy_plots.py  # after accuracy.py; needs matplotlib

Writes four plots a network, as far as there are records for them, into ``results/accuracy/``, and docs/accuracy.png.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import records
import report
from accuracy_paper import PAPER
from accuracy_tables import Record, Row, Setting, flops_share, name_of, order, row_of, setting_of, settings_of
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

OURS, THEIRS = "tab:blue", "tab:orange"
IN_DOCS = ("lenet-300-100", "lenet-5")
COLUMNS = 3  # of panels
BINS = np.linspace(0.09, 0.51, 29)  # of class specialisation, as in the paper; the last one holds all above, too


def main() -> None:
    """Draws what there are records for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=report.RESULTS / "accuracy.jsonl")
    parser.add_argument("--folder", type=Path, default=report.RESULTS / "accuracy")
    parser.add_argument("--docs", type=Path, default=report.ROOT / "docs" / "accuracy.png")
    arguments = parser.parse_args()
    known = records.read(arguments.records)
    kinds = {"density": by_density, "operations": by_operations, "layers": layers_over_time, "classes": class_histograms}
    for network in sorted({record["network"] for record in known}):
        own = [record for record in known if record["network"] == network]
        for name, draw in kinds.items():
            if (figure := draw(own)) is not None:
                save(figure, arguments.folder / f"{network}_{name}.png")
    if (figure := published_method(known)) is not None:
        save(figure, arguments.docs)


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print(f"wrote {path.relative_to(report.ROOT) if path.is_relative_to(report.ROOT) else path}")


# --- errors


def published_method(known: Sequence[Record]) -> Figure | None:
    """Sparse momentum as published and the paper's figures, of the longest training of two networks."""
    chosen = []
    for network in IN_DOCS:
        own = [record for record in known if record["network"] == network and record["initial_scale"] is None]
        own = [r for r in own if r["method"] == "dense" or (r["method"], r["growth_window"]) == ("sparse momentum", None)]
        if any(record["method"] != "dense" for record in own):
            chosen.append(_of_setting(own, settings_of(own)[0]))
    if not chosen:
        return None
    figure, panels = _panels(len(chosen), height=4.2)
    for axes, own in zip(panels, chosen, strict=True):
        _draw_by_density(axes, own)
    return figure


def by_density(own: Sequence[Record]) -> Figure | None:
    """Test error against density, a panel for each setting with a sparse method."""
    settings = [s for s in settings_of(own) if _methods(_of_setting(own, s))]
    if not settings:
        return None
    figure, panels = _panels(len(settings), height=4.2)
    for axes, setting in zip(panels, settings, strict=True):
        _draw_by_density(axes, _of_setting(own, setting))
    return figure


def by_operations(own: Sequence[Record]) -> Figure | None:
    """Test error against the operations of the training, a panel for each setting that has them."""
    counted = [record for record in own if record["training_flops"] is not None]
    settings = [s for s in settings_of(counted) if _methods(_of_setting(counted, s))]
    if not settings:
        return None
    figure, panels = _panels(len(settings), height=4.2)
    for axes, setting in zip(panels, settings, strict=True):
        found = _of_setting(counted, setting)
        for name, rows in _methods(found).items():
            points = [(100 * (flops_share(runs) or 0), _error(runs), row.density) for row, runs in rows]
            _draw_line(axes, [p[0] for p in points], [p[1] for p in points], label=name)
            for x, (y, _), density in points:
                axes.annotate(f"{100 * density:g} %", (x, y), (4, 4), textcoords="offset points", fontsize="x-small")
        _draw_dense(axes, found)
        axes.set(xscale="log", xlabel="operations of the training, % of the dense one", ylabel="test error %")
        for which in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
            which(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(axis="x", which="both", labelsize="small")
        _finish(axes, setting)
    return figure


def _draw_by_density(axes: Any, found: Sequence[Record]) -> None:
    setting = setting_of(found[0])
    ticks = set()
    for name, rows in _methods(found).items():
        ticks |= {100 * row.density for row, _ in rows}
        _draw_line(axes, [100 * row.density for row, _ in rows], [_error(runs) for _, runs in rows], label=name)
    paper = PAPER.get(setting.network, {}).get("sparse momentum", {})
    if paper:
        errors = [(paper[d].error, paper[d].standard_error or 0.0) for d in sorted(paper)]
        _draw_line(axes, [100 * d for d in sorted(paper)], errors, label="paper, sparse momentum", color="0.3", linestyle="--", marker="s")
        ticks |= {100 * density for density in paper}
    _draw_dense(axes, found)
    axes.set_xscale("log")
    axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)], fontsize="small")
    axes.minorticks_off()
    axes.set(xlabel="active weights, %", ylabel="test error %")
    _finish(axes, setting)


def _draw_line(axes: Any, x: Sequence[float], errors: Sequence[tuple[float, float]], **style: Any) -> None:
    style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2, **style}
    axes.errorbar(x, [error for error, _ in errors], [error for _, error in errors], **style)


def _draw_dense(axes: Any, found: Sequence[Record]) -> None:
    dense = [record for record in found if record["method"] == "dense"]
    if dense:
        error, _ = _error(dense)
        axes.axhline(error, color=OURS, linewidth=1, linestyle=":", label=f"dense ({error:.2f} %)")
    paper = PAPER.get(setting_of(found[0]).network, {}).get("dense", {}).get(1.0)
    if paper:
        axes.axhline(paper.error, color=THEIRS, linewidth=1, linestyle=":", label=f"paper, dense ({paper.error:.2f} %)")


def _methods(found: Sequence[Record]) -> dict[str, list[tuple[Row, list[Record]]]]:
    """{name: its rows by density, each with its records}, of the sparse methods."""
    lines: dict[str, list[tuple[Row, list[Record]]]] = {}
    rows = {row_of(record) for record in found if record["method"] != "dense"}
    for row in sorted(rows, key=lambda row: (order(row)[1:], row.density)):
        lines.setdefault(name_of(row), []).append((row, [r for r in found if row_of(r) == row]))
    return lines


def _error(runs: Sequence[Record]) -> tuple[float, float]:
    """Mean test error, and its standard error or 0."""
    errors = [run["test_error"] for run in runs]
    return statistics.mean(errors), report.standard_error(errors) if len(errors) > 1 else 0.0


# --- densities of layers


def layers_over_time(own: Sequence[Record]) -> Figure | None:
    """The density of each layer by epoch, a panel for each method and density: the first seed of the longest training."""
    chosen: dict[Row, Record] = {}
    for record in sorted(own, key=lambda r: (-r["epochs"], r["seed"])):
        changes = record["densities"] and any(row != record["densities"][0] for row in record["densities"])
        if changes and record["initial_scale"] is None:
            chosen.setdefault(row_of(record), record)
    if not chosen:
        return None
    rows = sorted(chosen, key=lambda row: (row.method != "sparse momentum", row.method, -row.density, str(row)))
    figure, panels = _panels(len(rows), height=3.2)
    for axes, row in zip(panels, rows, strict=True):
        record = chosen[row]
        for i, path in enumerate(record["multiply_adds"]):
            axes.plot(range(1, 1 + len(record["densities"])), [100 * d[i] for d in record["densities"]], label=_layer(path), linewidth=1.2)
        axes.set(yscale="log", xlabel="epoch", ylabel="active weights, %")
        axes.set_title(f"{record['network']}, {name_of(row)}, {100 * row.density:g} %", fontsize="small")
        axes.grid(True, alpha=0.3)
        if len(record["multiply_adds"]) <= 12:
            axes.legend(fontsize="x-small")
    return figure


def _layer(path: str) -> str:
    return path.removesuffix("/kernel").split("/")[-1]


# --- class specialisation


def class_histograms(own: Sequence[Record]) -> Figure | None:
    """Channels by class specialisation, dense and sparse, a panel for each layer: the longest training, all seeds."""
    special = [record for record in own if record["specialisation"] and record["method"] in ("dense", "sparse momentum")]
    settings = [s for s in settings_of(special) if len({r["method"] for r in _of_setting(special, s)}) == 2]
    if not settings:
        return None
    found = _of_setting(special, settings[0])
    layers = list(found[0]["specialisation"])
    figure, panels = _panels(len(layers), height=3.0)
    for axes, layer in zip(panels, layers, strict=True):
        for density in sorted({record["density"] for record in found}, reverse=True):
            values = [v for r in found if r["density"] == density for v in r["specialisation"][layer]]
            if values:
                label = f"{'dense' if density == 1 else f'{100 * density:g} %'}: mean {statistics.mean(values):.3f}"
                weights = np.full(len(values), 100 / len(values))
                axes.hist(np.clip(values, None, BINS[-1] - 1e-9), BINS, weights=weights, histtype="step", label=label)
        axes.set(xlabel="class specialisation", ylabel="channels, %")
        axes.set_title(f"{settings[0].network}, {layer}", fontsize="small")
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize="x-small")
    return figure


# --- panels


def _of_setting(known: Sequence[Record], setting: Setting) -> list[Record]:
    return [record for record in known if setting_of(record) == setting]


def _panels(count: int, height: float) -> tuple[Figure, Iterator[Any]]:
    """A figure with this many panels, in rows."""
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(5.2 * columns if columns > 1 else 7, height * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for unused in panels[count:]:
        unused.set_visible(False)
    return figure, iter(panels[:count])


def _finish(axes: Any, setting: Setting) -> None:
    axes.set_title(f"{setting.network}, {setting.epochs} epochs, learning rate {setting.learning_rate:g}; mean ± standard error", fontsize="small")
    axes.grid(True, alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")


if __name__ == "__main__":
    main()
