"""Makes a notebook of each tutorial: a cell that installs, the page's text, and its code.

``repo_url`` in mkdocs.yml is the project's address; without one, nothing opens in Colab. Colab
opens notebooks of GitHub alone: those of the branch to which the site is published,
``remote_branch`` in mkdocs.yml, by default gh-pages.
"""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GITHUB = "https://github.com/"
COLAB = "https://colab.research.google.com/github/"
PATH = """\
import os
import sys

# the cells of bash run this kernel's `python`, which need not be in the path of Jupyter
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]

"""
RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!https)[^)]+\)")  # to pages that are not there


def add_notebooks(pages: Path, settings: str | None = None) -> None:
    """Writes a notebook beside each tutorial, and a link to it at the end of the page.

    Args:
        pages: the gathered pages.
        settings: text of mkdocs.yml; None: that of the repository.
    """
    import jupytext

    text = (ROOT / "mkdocs.yml").read_text() if settings is None else settings
    address = setting(text, "repo_url")
    for page in sorted((pages / "docs" / "tutorials").glob("*.md")):
        notebook = page.with_suffix(".ipynb")
        jupytext.write(notebook_of(page.read_text(), address), notebook)
        links = [f"[This page as a notebook]({notebook.name})"]
        if (colab := colab_link(text, str(notebook.relative_to(pages)))) is not None:
            links.append(f"[open it in Colab]({colab})")
        page.write_text(f"{page.read_text()}\n{' · '.join(links)}\n")


def notebook_of(page: str, address: str | None) -> Any:
    """The notebook of a page's text; bash runs by the magic %%bash."""
    import jupytext
    from nbformat.v4 import new_code_cell

    notebook = jupytext.reads(RELATIVE_LINK.sub(r"\1", page), fmt="md")
    has_bash = any(cell.source.startswith("%%bash") for cell in notebook.cells)
    notebook.cells.insert(0, new_code_cell(PATH * has_bash + install(address)))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata["kernelspec"] = kernel
    return notebook


def install(address: str | None) -> str:
    """The first cell."""
    if address is None:
        return (
            "# keras_sparse itself: `pip install .` in its folder, in the environment of this "
            "kernel\n%pip install --quiet scikit-learn"
        )
    return f'%pip install --quiet "keras_sparse @ git+{address}" scikit-learn'


def colab_link(settings: str, path: str) -> str | None:
    """The address at which Colab opens a notebook; None without a project on GitHub."""
    address = setting(settings, "repo_url")
    if address is None or not address.startswith(GITHUB):
        return None
    project = address.removeprefix(GITHUB).removesuffix(".git").strip("/")
    branch = setting(settings, "remote_branch") or "gh-pages"
    return f"{COLAB}{project}/blob/{branch}/{path}"


def setting(settings: str, name: str) -> str | None:
    """The value of a top-level line in the text of mkdocs.yml."""
    found = re.search(rf"^{name}: *(\S+)", settings, re.MULTILINE)
    return None if found is None else found[1].strip("\"'")
