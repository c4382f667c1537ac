"""Charts in SVG and CSS that follow the width and the colours of the page; no scripts.

The drawings stretch, and their texts are HTML beside them, so that they stay readable on phones.
"""

import math
from collections.abc import Mapping, Sequence
from xml.etree.ElementTree import Element

from keras_sparse.models.plots import NAMED_LINES
from keras_sparse.reporting.elements import element
from keras_sparse.reporting.histogram import BINS, Histogram

HUES = 250, 400  # of the first and the last line, from blue to orange
SIZE = 1000  # units of a drawing on each side


def density_chart(
    positions: Sequence[float],
    label: str,
    lines: Mapping[str, Sequence[float]],
    special: Mapping[str, str],
) -> Element:
    """Densities over a training, on a logarithmic axis; 0 is below its lowest line.

    Args:
        positions: on the horizontal axis.
        label: of that axis.
        lines: ``{name: a density for each position}``, from the first layer to the last.
        special: ``{name: class}`` of lines that are drawn as this class of ``page.css``.
    """
    axis = _Axis([value for values in lines.values() for value in values])
    layers = [name for name in lines if name not in special]
    drawn = [
        _line(positions, values, axis, name, special.get(name), _hue(layers, name))
        for name, values in lines.items()
    ]
    grid = [
        element("path", d=f"M0,{axis.at(tick):.1f}h{SIZE}", class_="grid") for tick in axis.ticks
    ]
    ends = dict.fromkeys(f"{position:,g}" for position in (positions[0], positions[-1]))
    return element(
        "figure",
        element(
            "div",
            element("div", *map(axis.text, axis.ticks), class_="y-axis"),
            _drawing("Density of each layer over the training", *grid, *drawn),
            element("div", *(element("span", end) for end in ends), class_="x-axis"),
            element("div", label, class_="x-label"),
            class_="chart",
        ),
        _legend(layers, [name for name in lines if name in special], special),
    )


def sparkline(positions: Sequence[float], values: Sequence[float], name: str) -> Element:
    """One small line on the same kind of axis, without texts."""
    line = _line(positions, values, _Axis(values), name, "only", None)
    return element("div", _drawing(f"Density of {name} over the training", line), class_="spark")


def histogram_chart(histogram: Histogram) -> Element:
    """Bars for the numbers of active weights of each value."""
    tallest, width = max(1, int(histogram.counts.max(initial=0))), SIZE / BINS
    bars = [
        element(
            "rect",
            element("title", f"{low:.3g} to {high:.3g}: {int(count):,} active weights"),
            x=i * width,
            width=width * 0.86,
            y=SIZE * (1 - count / tallest),
            height=SIZE * count / tallest,
        )
        for i, (count, low, high) in enumerate(
            zip(histogram.counts, histogram.edges[:-1], histogram.edges[1:], strict=True)
        )
        if count
    ]
    ends = (f"-{histogram.largest:.3g}", "0", f"{histogram.largest:.3g}")
    return element(
        "div",
        _drawing("Histogram of the active weights", *bars),
        element("div", *(element("span", end) for end in ends), class_="x-axis"),
        class_="histogram",
    )


def bar(share: float, text: str, class_: str = "bar") -> Element:
    """A bar that fills this share of its width, in [0, 1]."""
    filled = element("i", style=f"width:{100 * min(1, share):.2f}%")
    return element("span", filled, class_=class_, title=text)


class _Axis:
    """Powers of ten, down to the least positive value; 0 has a place below them."""

    def __init__(self, values: Sequence[float]) -> None:
        positive = [value for value in values if value > 0]
        has_zero = len(positive) < len(values)
        self._lowest = min((math.floor(math.log10(value)) for value in positive), default=-1)
        self._lowest = min(self._lowest, -1)
        self._decades = -self._lowest + (0.5 if has_zero else 0)
        powers = [10.0**power for power in range(self._lowest, 1)]
        self.ticks = [*([0.0] if has_zero else []), *powers]

    def at(self, value: float) -> float:
        """Where a value is, from the top."""
        return SIZE if value <= 0 else SIZE * -math.log10(value) / self._decades

    def text(self, tick: float) -> Element:
        return element("span", f"{tick:g}", style=f"top:{self.at(tick) / SIZE:.2%}")


def _line(
    positions: Sequence[float],
    values: Sequence[float],
    axis: _Axis,
    name: str,
    class_: str | None,
    hue: float | None,
) -> Element:
    first, last = positions[0], positions[-1]
    points = [
        f"{SIZE * (position - first) / ((last - first) or 1):.1f},{axis.at(value):.1f}"
        for position, value in zip(positions, values, strict=False)
    ]
    course = "M" + "L".join(points) + ("h0.1" if len(points) == 1 else "")  # one value is a dot
    title = element("title", f"{name}: {values[0]:.4f} to {values[-1]:.4f}")
    style = None if hue is None else f"--hue:{hue:.0f}"
    return element("path", title, d=course, class_=f"line {class_ or 'layer'}", style=style)


def _hue(layers: Sequence[str], name: str) -> float | None:
    if name not in layers:
        return None
    first, last = HUES
    return first + (last - first) * layers.index(name) / max(1, len(layers) - 1)


def _legend(layers: Sequence[str], others: Sequence[str], special: Mapping[str, str]) -> Element:
    """Names of lines; of many layers, the first and the last one."""
    named = layers if len(layers) <= NAMED_LINES else [layers[0], layers[-1]]
    items = [_entry(name, "layer", _hue(layers, name)) for name in named]
    if len(named) < len(layers):
        items.insert(1, element("span", f"to, through {len(layers) - 2} others,"))
    items += [_entry(name, special[name], None) for name in others]
    return element("figcaption", *items, class_="legend")


def _entry(name: str, class_: str, hue: float | None) -> Element:
    style = None if hue is None else f"--hue:{hue:.0f}"
    return element("span", element("i", class_=f"key {class_}", style=style), name)


def _drawing(text: str, *content: Element) -> Element:
    return element(
        "svg",
        *content,
        viewBox=f"0 0 {SIZE} {SIZE}",
        preserveAspectRatio="none",
        role="img",
        aria_label=text,
    )
