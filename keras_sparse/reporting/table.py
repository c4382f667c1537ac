"""The table of all weights, with the figures of ``summary``; its rows become lists on phones."""

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from keras_sparse.models.summary_table import cell
from keras_sparse.reporting.charts import bar
from keras_sparse.reporting.content import Content, Weight
from keras_sparse.reporting.elements import element
from keras_sparse.reporting.sizes import shape_text

NUMBERS = {
    "weights": "weights",
    "active": "active",
    "density": "density",
    "ever active": "exploration_rate",
    "multiply-adds, dense": "multiply_adds_dense",
    "multiply-adds, sparse": "multiply_adds_sparse",
    "dead inputs": "dead_inputs",
    "dead outputs": "dead_outputs",
}


def layer_table(content: Content) -> Iterator[Element]:
    """The section of the table; nothing if there is no model."""
    if content.total is None:
        return
    columns = {header: key for header, key in NUMBERS.items() if _is_known(content, key)}
    has_choice = any("runs_as" in weight.row for weight in content.weights)
    headers = [
        *(element("th", header) for header in ("weight", "shape")),
        *(element("th", header, class_="number") for header in columns),
        *([element("th", "runs as")] if has_choice else []),
    ]
    body = [_row(number, weight, columns) for number, weight in enumerate(content.weights)]
    made = element(
        "table",
        element("thead", element("tr", *headers)),
        element("tbody", *body),
        element("tfoot", _total(content.total, columns, has_choice)),
    )
    yield element(
        "section",
        element("h2", "Layers"),
        element("div", made, class_="wide"),
        *(element("p", text, class_="note") for text in _remarks(content, has_choice)),
    )


def _is_known(content: Content, key: str) -> bool:
    return any(weight.row.get(key) is not None for weight in content.weights)


def _row(number: int, weight: Weight, columns: dict[str, str]) -> Element:
    row = weight.row
    frozen = " (frozen)" if row.get("frozen") else ""
    link = element("a", weight.name, href=f"#weight-{number}")
    cells = [element("th", link, frozen), _cell("shape", shape_text(row["shape"]))]
    for header, key in columns.items():
        made = _cell(header, cell(row[key]), "number")
        if key == "density":
            made.append(bar(row["density"], f"density {cell(row['density'])}"))
        cells.append(made)
    if "runs_as" in row:
        cells.append(_cell("runs as", row["runs_as"], "choice"))
    return element("tr", *cells)


def _total(total: dict[str, Any], columns: dict[str, str], has_choice: bool) -> Element:
    numbers = [_cell(header, cell(total[key]), "number") for header, key in columns.items()]
    last = [element("td", class_="empty")] if has_choice else []
    return element("tr", element("th", "total"), element("td", class_="empty"), *numbers, *last)


def _cell(header: str, text: str, class_: str | None = None) -> Element:
    return element("td", text, class_=class_, data_label=header)


def _remarks(content: Content, has_choice: bool) -> Iterator[str]:
    total = content.total or {}
    if total.get("other_multiply_adds"):
        yield (
            f"The totals include {total['other_multiply_adds']:,} multiply-adds of other weights "
            "and of products without weights."
        )
    if has_choice:
        at = "any batch, with its condition" if content.batch is None else f"batch {content.batch}"
        yield f'"Runs as" is what computes the layer at {at} and at the present density.'
    elif content.weights and not content.notes:
        yield (
            "The model has no sparse layers, so Keras' own operations run. "
            "ks.sparsify(model) returns a copy whose layers skip missing weights."
        )
    if "break_even_densities" in total:
        yield f"Break-even densities: {total['break_even_densities']}."
