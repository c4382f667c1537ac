"""HTML as a tree: the standard library escapes all text and closes all tags."""

import importlib.resources
from xml.etree import ElementTree

Element = ElementTree.Element
Child = Element | str | None
ALLOWED = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # no request is
GENERATOR = "keras_sparse"


def element(tag: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element; attributes of None are left out.

    Args:
        tag: its name.
        children: elements and texts, in their order; None is nothing.
        attributes: ``class_`` is "class", other underscores are hyphens.

    >>> ElementTree.tostring(element("p", "a < b", element("b", "!"), class_="x"), "unicode")
    '<p class="x">a &lt; b<b>!</b></p>'
    """
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            text = value if isinstance(value, str) else f"{value:.6g}"
            made.set(name.rstrip("_").replace("_", "-"), text)
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif child is not None:
            _append_text(made, child)
    return made


def _append_text(parent: Element, text: str) -> None:
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def page(title: str, *content: Child) -> str:
    """A whole HTML document that needs no other file and makes no request."""
    style = importlib.resources.files("keras_sparse.reporting").joinpath("page.css").read_text()
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=ALLOWED),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content=GENERATOR),
        element("title", title),
        element("style", style),
    )
    tree = element("html", head, element("body", element("main", *content)), lang="en")
    return "<!DOCTYPE html>\n" + ElementTree.tostring(tree, "unicode", method="html") + "\n"
