"""A panel for each weight: its mask as a picture, its values, and its density over the training."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import numpy as np

from keras_sparse.models.summary_table import cell
from keras_sparse.reporting.charts import bar, histogram_chart, sparkline
from keras_sparse.reporting.content import Content, Weight
from keras_sparse.reporting.elements import element
from keras_sparse.reporting.pictures import picture
from keras_sparse.reporting.sizes import shape_text, size_text

MOST_TAPS = 512  # a picture of more says nothing


def panels(content: Content) -> Iterator[Element]:
    """The section of all panels; nothing without weights."""
    if not content.weights:
        return
    legend = (
        "In the picture of a mask, a row is an input channel and a column is an output channel. "
        "Cells without an active weight are blank. Colour grows with the share of active weights "
        "in a cell; the largest share, in full colour, is below each picture."
    )
    yield element(
        "section",
        element("h2", "Masks and weights"),
        element("p", legend, class_="note"),
        element(
            "div",
            *(_panel(number, weight, content) for number, weight in enumerate(content.weights)),
            class_="panels",
        ),
    )


def _panel(number: int, weight: Weight, content: Content) -> Element:
    row = weight.row
    stored = "" if weight.stored is None else f"{size_text(weight.stored)} compressed"
    frozen = "frozen" if row.get("frozen") else ""
    facts = [shape_text(row["shape"]), weight.structure, frozen, stored]
    active = f"{row['active']:,} of {row['weights']:,} active"
    return element(
        "article",
        element("h3", weight.name),
        element("p", " · ".join(fact for fact in facts if fact), class_="facts"),
        element("p", f"density {cell(row['density'])}: {active}", class_="density"),
        bar(row["density"], active),
        *_training(weight, content),
        *_mask(weight),
        *_taps(weight),
        *_values(weight),
        id=f"weight-{number}",
    )


def _training(weight: Weight, content: Content) -> Iterator[Element]:
    recorded = content.recorded
    values = None if recorded is None else recorded.lines.get(weight.name)
    if recorded is None or not values:
        return
    text = f"over the training: {cell(float(values[0]))} to {cell(float(values[-1]))}"
    yield element(
        "figure",
        sparkline(recorded.positions, values, weight.name),
        element("figcaption", text),
    )


def _mask(weight: Weight) -> Iterator[Element]:
    found, row = weight.channels, weight.row
    inputs, outputs = found.channels
    size = f"{inputs:,} input by {outputs:,} output channels"
    cells = " by ".join(f"{number:,}" for number in found.per_cell)
    reduced = "" if found.per_cell == (1, 1) else f"; a cell is {cells} channels"
    largest = f"; largest share {cell(float(found.shares.max(initial=0.0)))}"
    dead = f"dead: {row['dead_inputs']:,} inputs, {row['dead_outputs']:,} outputs"
    yield element(
        "figure",
        element("div", picture(found.shares, f"Mask of {weight.name}"), class_="picture"),
        element("figcaption", size + reduced + largest, element("br"), dead),
    )


def _taps(weight: Weight) -> Iterator[Element]:
    taps = weight.taps
    if taps is None or taps.size > MOST_TAPS:
        return
    flat = np.atleast_2d(taps)
    flat = flat.reshape(-1, flat.shape[-1])
    spread = f"{cell(float(flat.min()))} to {cell(float(flat.max()))}"
    yield element(
        "figure",
        element("div", picture(flat, f"Density of each tap of {weight.name}"), class_="picture"),
        element("figcaption", f"density of each tap: {spread}"),
    )


def _values(weight: Weight) -> Iterator[Element]:
    found = weight.histogram
    if found is None:
        text = "no histogram: the quantized values are packed"
        yield element("p", text, class_="facts")
        return
    text = f"active weights: mean {found.mean:.3g}, standard deviation {found.deviation:.3g}"
    if found.not_finite:
        text += f"; {found.not_finite:,} are not finite"
    yield element("figure", histogram_chart(found), element("figcaption", text))
