"""Plots of the accuracy benchmark's records: test errors by density and by operations.

    python -m benchmarks.accuracy_plots  # after accuracy.py; needs matplotlib

Writes up to four plots a network into ``results/accuracy/``, and docs/accuracy.png. Those of layers
are drawn by ``accuracy_layer_plots.py``.
"""

import statistics
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks import options, records, report
from benchmarks.accuracy_layer_plots import class_histograms, layers_over_time
from benchmarks.accuracy_panels import panels, title_of
from benchmarks.accuracy_paper import PAPER
from benchmarks.accuracy_tables import (
    CHANCE,
    PUBLISHED,
    Record,
    Row,
    flops_share,
    name_of,
    of_setting,
    order,
    row_of,
    setting_of,
    settings_of,
    without_density,
)

OURS, THEIRS = "tab:blue", "tab:orange"
IN_DOCS = ("lenet-300-100", "lenet-5")


def main() -> None:
    """Draws what there are records for."""
    options.parser(__doc__).parse_args()
    known = learned(records.finished(report.RESULTS / "accuracy.jsonl"))
    figures = {report.ROOT / "docs" / "accuracy.png": published_method(known)}
    kinds = {"density": by_density, "operations": by_operations}
    kinds |= {"layers": layers_over_time, "classes": class_histograms}
    for network in sorted({record["network"] for record in known}):
        own = [record for record in known if record["network"] == network]
        for name, draw in kinds.items():
            figures[report.RESULTS / "accuracy" / f"{network}_{name}.png"] = draw(own)
    for path, figure in figures.items():
        if figure is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
            print(f"wrote {path.name}")


def published_method(known: Sequence[Record]) -> Figure | None:
    """Published sparse momentum and the paper's figures, the longest training of two networks."""
    chosen = []
    for network in IN_DOCS:
        own = [record for record in known if record["network"] == network]
        own = [r for r in own if r["method"] == "dense" or without_density(row_of(r)) == PUBLISHED]
        if _settings(own):
            chosen.append(of_setting(own, _settings(own)[0]))
    return _drawn(chosen, _draw_by_density)


def learned(known: Sequence[Record]) -> list[Record]:
    """Without runs that collapsed: they would leave no room for the others. Tables have them."""
    return [record for record in known if record["test_error"] < CHANCE]


def by_density(own: Sequence[Record]) -> Figure | None:
    """Test error against density, a panel for each setting with a sparse method."""
    return _drawn([of_setting(own, setting) for setting in _settings(own)], _draw_by_density)


def by_operations(own: Sequence[Record]) -> Figure | None:
    """Test error against the operations of the training, likewise."""
    own = [record for record in own if record["training_flops"] is not None]
    return _drawn([of_setting(own, setting) for setting in _settings(own)], _draw_by_operations)


def _settings(own: Sequence[Record]) -> list[Any]:
    """Those that have a sparse method."""
    return settings_of([record for record in own if record["method"] != "dense"])


def _drawn(groups: Sequence[Sequence[Record]], draw: Any) -> Figure | None:
    """A figure of a panel for each group of records; None where there is none."""
    if not groups:
        return None
    figure, axes = panels(len(groups), height=5.6)
    for each, found in zip(axes, groups, strict=True):
        draw(each, found)
        _draw_dense(each, found)
        each.set_title(title_of(setting_of(found[0])), fontsize="small")
        each.set_ylabel("test error %, mean ± standard error")
        _scale(each)
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "ncols": 2}
        each.legend(frameon=False, fontsize="x-small", **below)
    return figure


def _scale(axes: Any) -> None:
    """A logarithmic axis where errors differ by more than a factor of five."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    if high > 5 * low > 0:
        ticks = [t for t in (0.5, 1, 1.5, 2, 3, 5, 10, 20, 50) if low / 1.2 < t < 1.2 * high]
        axes.set(yscale="log", ylim=(low / 1.1, 1.1 * high))
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()


def _draw_by_density(axes: Any, found: Sequence[Record]) -> None:
    network, ticks = found[0]["network"], set()
    for name, rows in _lines(found).items():
        ticks |= {100 * row.density for row, _ in rows}
        _draw_line(axes, [100 * row.density for row, _ in rows], _errors(rows), label=name)
    paper = PAPER.get(network, {}).get("sparse momentum", {})
    if paper:
        x = sorted(paper)
        errors = [(paper[density].error, paper[density].standard_error or 0.0) for density in x]
        style = {"color": "0.3", "linestyle": "--", "marker": "s"}
        _draw_line(axes, [100 * d for d in x], errors, label="paper, sparse momentum", **style)
        ticks |= {100 * density for density in paper}
    axes.set(xscale="log", xlabel="active weights, %")
    axes.set_xticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)], fontsize="small")
    axes.minorticks_off()


def _draw_by_operations(axes: Any, found: Sequence[Record]) -> None:
    for name, rows in _lines(found).items():
        x, errors = [100 * (flops_share(runs) or 0.0) for _, runs in rows], _errors(rows)
        _draw_line(axes, x, errors, label=name)
        for at, (error, _), (row, _) in zip(x, errors, rows, strict=True):
            style = {"textcoords": "offset points", "fontsize": "x-small"}
            axes.annotate(f"{100 * row.density:g} %", (at, error), (4, 4), **style)
    axes.set(xscale="log", xlabel="operations of the training, % of the dense one")
    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.tick_params(axis="x", which="both", labelsize="small")


def _draw_line(axes: Any, x: Any, errors: Sequence[tuple[float, float]], **style: Any) -> None:
    style = {"marker": "o", "markersize": 4, "linewidth": 1.2, "capsize": 2, **style}
    means, deviations = zip(*errors, strict=True)
    axes.errorbar(x, means, deviations, **style)


def _draw_dense(axes: Any, found: Sequence[Record]) -> None:
    dense = [record["test_error"] for record in found if record["method"] == "dense"]
    paper = PAPER.get(found[0]["network"], {}).get("dense", {}).get(1.0)
    lines = [(OURS, "dense", statistics.mean(dense))] if dense else []
    lines += [(THEIRS, "paper, dense", paper.error)] if paper else []
    for color, name, error in lines:
        label = f"{name} ({error:.2f} %)"
        axes.axhline(error, color=color, linewidth=1, linestyle=":", label=label)


def _lines(found: Sequence[Record]) -> dict[str, list[tuple[Row, list[Record]]]]:
    """{name of a sparse method: its rows by density, each with its records}."""
    lines: dict[str, list[tuple[Row, list[Record]]]] = {}
    rows = {row_of(record) for record in found if record["method"] != "dense"}
    for row in sorted(rows, key=lambda row: (order(row)[1:], row.density)):
        lines.setdefault(name_of(row), []).append((row, [r for r in found if row_of(r) == row]))
    return lines


def _errors(rows: Sequence[tuple[Row, list[Record]]]) -> list[tuple[float, float]]:
    """Mean test error of each row, and its standard error or 0."""
    errors = [[run["test_error"] for run in runs] for _, runs in rows]
    deviations = [report.standard_error(each) if len(each) > 1 else 0.0 for each in errors]
    return list(zip(map(statistics.mean, errors), deviations, strict=True))


if __name__ == "__main__":
    main()
