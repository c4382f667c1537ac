"""A report as tests read it: its tags, texts, table and lines."""

import html.parser
import re

from helpers import compiled, fit, sparse, toy_model

import keras_sparse as ks

VOID = {"meta", "br", "img"}


class Page(html.parser.HTMLParser):
    """Reads a page; ``tags`` are (tag, attributes, text in it), in their order."""

    def __init__(self, path):
        super().__init__()
        self.tags, self._open = [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        self.tags.append([tag, dict(attributes), ""])
        if tag not in VOID:
            self._open.append(self.tags[-1])

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        for each in self._open:
            each[2] += data

    def all(self, tag, **wanted):
        """[(attributes, text)] of these tags, with these attributes."""
        return [
            (attributes, text)
            for name, attributes, text in self.tags
            if name == tag and wanted.items() <= attributes.items()
        ]

    @property
    def text(self):
        return self.all("body")[0][1]

    def rows(self):
        """Of the table of layers: {name: {header: text}}."""
        found, name = {}, None
        for tag, attributes, text in self.tags:
            if tag == "th":
                name = text
            elif tag == "td" and "data-label" in attributes:
                found.setdefault(name, {})[attributes["data-label"]] = text
        return found


def titles(page):
    """{name of a line: (first, last)}."""
    found = re.findall(r"<title>([^<:]*): ([\d.]+) to ([\d.]+)</title>", page.source)
    return {name: (first, last) for name, first, last in found if "weights" not in last}


def trained_model():
    """A sparse model, its callback, and the result of fit, which has each layer."""
    model = compiled(sparse(), ks.sparsify(toy_model(), verbose=False))
    callback = ks.UpdateMasks("epoch", log_layers=True)
    return model, callback, fit(model, callback)
