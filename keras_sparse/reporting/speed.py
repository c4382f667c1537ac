"""The section of what was measured: a training step, and each sparse layer alone."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from keras_sparse.models.layer_speed import LayerSpeed
from keras_sparse.models.step_parts import StepParts
from keras_sparse.reporting.charts import bar
from keras_sparse.reporting.content import Content
from keras_sparse.reporting.elements import element

HOW_PARTS = (
    "With sparse layers and a closed growth window, a step takes {}, and shares are of that. The "
    "forward pass, the pass with all gradients, and the whole step were timed in turns, and the "
    "other times are differences. On a busy machine they are rough."
)
TOGETHER = (
    "The step took less than the pass with all gradients alone: some steps compute gradients and "
    "optimizer together. So the two are one row."
)
UPDATES = "Mask updates run between steps, and are not in these times."


def speed_section(content: Content) -> Iterator[Element]:
    """The section; nothing unless the report measured."""
    total = content.total
    if total is None or "step_seconds_dense" not in total:
        return
    dense = _milliseconds(total["step_seconds_dense"])
    step = (
        f"A training step at batch {content.batch} takes {dense} with Keras' layers. With sparse "
        f"layers it is {total['step_speed_up_closed']:.2f}x as fast while the growth window is "
        f"closed, and {total['step_speed_up_open']:.2f}x while it is open. This holds for this "
        "machine, this batch and the present masks; the data were random."
    )
    if "slow_dense" in total:
        step += f" {total['slow_dense']}."
    yield element(
        "section",
        element("h2", "Measured speed"),
        element("p", step),
        *_parts(total["step_parts"]),
        *_layers(content),
    )


def _parts(parts: StepParts) -> Iterator[Element]:
    """Where the time of a step with sparse layers goes."""
    together = parts.backward is None
    rows = {
        "forward pass and loss": parts.forward,
        **({} if parts.backward is None else {"backward pass": parts.backward}),
        "backward pass, optimizer and masks" if together else "optimizer and masks": (
            parts.optimizer
        ),
        "in addition, growth window open": parts.window,
    }
    longest = max(rows.values())
    cells = [_part(name, seconds, parts.step, longest) for name, seconds in rows.items()]
    numbers = [element("th", header, class_="number") for header in ("time", "share")]
    head = element("thead", element("tr", element("th", "part"), *numbers))
    yield element("h3", "Where the time of a step goes", class_="parts")
    yield element("div", element("table", head, element("tbody", *cells)), class_="wide")
    text = HOW_PARTS.format(_milliseconds(parts.step))
    yield element("p", f"{text} {TOGETHER if together else ''} {UPDATES}", class_="note")


def _part(name: str, seconds: float, step: float, longest: float) -> Element:
    share = f"{seconds / step:.0%}"
    return element(
        "tr",
        element("th", name),
        _time("time", seconds, longest, "bar"),
        element("td", share, class_="number", data_label="share"),
    )


def _layers(content: Content) -> Iterator[Element]:
    """Each sparse layer alone, dense and by the custom op."""
    if not content.layers:
        yield element("p", "No layer of the model can be sparse.", class_="note")
        return
    longest = max(_slowest(layer) for layer in content.layers)
    rows = [_row(layer, longest, content) for layer in content.layers]
    numbers = ("Keras' layer", "custom op", "speed-up")
    headers = [
        element("th", "layer"),
        *(element("th", header, class_="number") for header in numbers),
        element("th", "runs as"),
    ]
    head, body = element("thead", element("tr", *headers)), element("tbody", *rows)
    yield element("div", element("table", head, body), class_="wide")
    text = (
        "Each layer was timed alone: its outputs and all of its gradients, growth window closed. "
        "These times do not add up to a step, which also has the layers between them, the loss and "
        "the optimizer."
    )
    yield element("p", text, class_="note")


def _row(layer: LayerSpeed, longest: float, content: Content) -> Element:
    dense = layer.dense_seconds
    custom = None if layer.speed_up is None else dense / layer.speed_up
    name = layer.layer.removeprefix(f"{content.name}/")
    return element(
        "tr",
        element("th", name),
        _time("Keras' layer", dense, longest, "bar dense"),
        _time("custom op", custom, longest, "bar"),
        element(
            "td",
            "" if layer.speed_up is None else f"{layer.speed_up:.2f}x",
            class_="number",
            data_label="speed-up",
        ),
        element("td", layer.runs_as, class_="choice", data_label="runs as"),
    )


def _time(header: str, seconds: float | None, longest: float, class_: str) -> Element:
    if seconds is None:
        return element("td", "cannot compute it", class_="number", data_label=header)
    text = _milliseconds(seconds)
    drawn = bar(seconds / longest, text, class_)
    return element("td", text, drawn, class_="number", data_label=header)


def _slowest(layer: LayerSpeed) -> float:
    custom = 0.0 if layer.speed_up is None else layer.dense_seconds / layer.speed_up
    return max(layer.dense_seconds, custom)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"
