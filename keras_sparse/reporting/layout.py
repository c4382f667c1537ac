"""The sections of a report, from what it shows."""

import datetime
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import keras

from keras_sparse.models.plots import ALL_WEIGHTS, EXPLORED
from keras_sparse.models.summary_table import BUDGETS, cell
from keras_sparse.reporting.charts import bar, density_chart
from keras_sparse.reporting.content import Content
from keras_sparse.reporting.elements import element, page
from keras_sparse.reporting.panels import panels
from keras_sparse.reporting.sizes import size_text
from keras_sparse.reporting.speed import speed_section
from keras_sparse.reporting.table import layer_table

SPECIAL = {ALL_WEIGHTS: "total", EXPLORED: "explored"}


def html_of(content: Content) -> str:
    """The whole page."""
    return page(
        f"Sparsity of {content.name}",
        element("h1", "Sparsity of ", element("b", content.name)),
        *_tiles(content),
        *(element("p", note, class_="note") for note in _notes(content)),
        *_training(content),
        *speed_section(content),
        *layer_table(content),
        *panels(content),
        _footer(),
    )


def _tiles(content: Content) -> Iterator[Element]:
    """The totals."""
    total = content.total
    if total is None:
        return
    tiles = [_density_tile(total), *_multiply_adds_tile(total)]
    if "exploration_rate" in total:
        tiles.append(_tile("ever active", cell(total["exploration_rate"]), "of the masked weights"))
    inputs, outputs = total["dead_inputs"], total["dead_outputs"]
    text = f"{inputs:,} inputs and {outputs:,} outputs have no active weight"
    tiles.append(_tile("dead channels", cell(inputs + outputs), text))
    first, *others = content.sizes.items()
    more = [f"{size_text(size)} {what}" for what, size in others]
    tiles.append(_tile("size", size_text(first[1]), "; ".join([first[0], *more])))
    yield element("section", *tiles, class_="tiles")


def _density_tile(total: dict[str, Any]) -> Element:
    active = f"{total['active']:,} of {total['weights']:,} masked weights are active"
    others = f"; {total['other_weights']:,} other weights are dense"
    budget = f"; {BUDGETS[total['budget']]}" if "budget" in total else ""
    tile = _tile("density", cell(total["density"]), active + others + budget)
    tile.insert(2, bar(total["density"], active))
    return tile


def _multiply_adds_tile(total: dict[str, Any]) -> Iterator[Element]:
    sparse, dense = total["multiply_adds_sparse"], total["multiply_adds_dense"]
    if sparse is None or not dense:
        return
    text = f"{sparse:,} of {dense:,} for one example, whole model"
    if total["multiply_adds_density"] is not None:
        text += f"; {cell(total['multiply_adds_density'])} of those of the masked weights"
    tile = _tile("multiply-adds", cell(sparse / dense), text)
    tile.insert(2, bar(sparse / dense, text))
    yield tile


def _tile(name: str, value: str, text: str) -> Element:
    return element(
        "div", element("h3", name), element("strong", value), element("p", text), class_="tile"
    )


def _notes(content: Content) -> Iterator[str]:
    yield from content.notes
    total = content.total
    if total is None:
        yield "The report has a history and no model, so it shows the training alone."
        return
    if "why_unknown" in total:
        yield f"Multiply-adds are unknown: {total['why_unknown']}."
    if total["dead_inputs"] or total["dead_outputs"]:
        yield (
            "ks.compact(model) removes dead channels from functional and Sequential models, if no "
            "other layer needs them."
        )


def _training(content: Content) -> Iterator[Element]:
    """The densities over the training."""
    recorded = content.recorded
    if recorded is None:
        return
    lines = dict(recorded.lines)
    if (total := _total_line(content, lines)) is not None:
        lines[ALL_WEIGHTS] = total
    yield element(
        "section",
        element("h2", "Density over the training"),
        density_chart(recorded.positions, recorded.label, lines, SPECIAL),
        *_without_layers(lines),
    )


def _without_layers(lines: dict[str, Any]) -> list[Element]:
    if set(lines) - set(SPECIAL):
        return []
    text = (
        "The history holds no layers. For those, pass the UpdateMasks callback in place of the "
        "result of fit, or train with UpdateMasks(log_layers=True)."
    )
    return [element("p", text, class_="note")]


def _total_line(content: Content, lines: dict[str, Sequence[float]]) -> list[float] | None:
    """The density of all weights, if the lines are those of the weights."""
    sizes = {weight.name: weight.row["weights"] for weight in content.weights}
    paths = [name for name in lines if name not in SPECIAL]
    if ALL_WEIGHTS in lines or not paths or set(paths) - set(sizes):
        return None
    whole = sum(sizes[path] for path in paths)
    columns = zip(*(lines[path] for path in paths), strict=True)
    return [
        sum(density * sizes[path] for density, path in zip(column, paths, strict=True)) / whole
        for column in columns
    ]


def _footer() -> Element:
    version = sys.modules["keras_sparse"].__version__
    made = datetime.datetime.now().strftime("%Y-%m-%d %H:%M")
    text = (
        f"Made on {made} by keras_sparse {version}, Keras {keras.__version__} on "
        f"{keras.backend.backend()}. Density is active / all weights. A multiply-add counts for "
        "each weight and output position. Compressed sizes are those of ks.save_compressed."
    )
    return element("footer", element("p", text))
