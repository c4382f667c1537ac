"""The examples of docstrings are code on the site: an extension of griffe, which reads them.

Plain Markdown takes the three > of an example for quotations.
"""

from typing import Any

import griffe


def fenced(text: str) -> str:
    """The text with ```pycon around each example, from its first >>> to the next empty line.

    >>> fenced("Adds.\\n\\n>>> 1 + 1\\n2").split("\\n")
    ['Adds.', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    lines: list[str] = []
    indent = None  # of the example that the line belongs to
    for line in [*text.split("\n"), ""]:
        begins = line.lstrip().startswith(">>> ")
        if begins and indent is None:
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(f"{indent}```pycon")
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(line)
    return "\n".join(lines[:-1])


class Doctests(griffe.Extension):
    """Called with every object of the package."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Changes the docstring before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = fenced(obj.docstring.value)
