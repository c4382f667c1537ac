"""The documentation site has every page and every public name; its messages are those we raise.

`make docs` builds it, and checks links and anchors.
"""

import ast
import inspect
import operator
import re
import sys
from pathlib import Path

import pages
import pytest

import keras_sparse as ks
from keras_sparse.commands.arguments import parser

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import build_site  # noqa: E402
import notebooks  # noqa: E402

NAV = re.findall(
    r"^ +- .*: (\S+\.md)$|^  - .*: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M
)


def test_every_page_that_the_navigation_names_is_gathered(tmp_path):
    build_site.gather(tmp_path)
    pages = ["".join(found) for found in NAV]
    assert len(pages) == len(set(pages)) > 20
    assert [page for page in pages if not (tmp_path / page).exists()] == []


def test_every_page_of_docs_is_in_the_navigation():
    found = (ROOT / "docs").rglob("*.md")
    pages = {str(path.relative_to(ROOT)) for path in found} - {"docs/index.md"}
    pages |= {f"reference/{name}.md" for name in build_site.REFERENCE}
    assert pages - {"".join(found) for found in NAV} == set()


API = (ROOT / "docs" / "api.md").read_text()


def test_the_page_of_all_names_has_every_public_name_layer_op_and_command():
    words = set(re.findall(r"[\w-]+", API))
    commands = parser()._subparsers._group_actions[0].choices
    names = {*ks.__all__, *ks.layers.__all__, *ks.ops.__all__, *commands} - {"Availability"}
    assert names - words == set()
    assert [name for name in ks.__all__ if f"ks.{name}" not in API] == []


def signatures():
    """[(name, arguments as written)] of the page of all names, where it shows all of them."""
    found = re.findall(r"(?:\*\*|^\| )`ks\.([\w.]+)\((.*?)\)`", API, re.M | re.S)
    return [(name, " ".join(text.split())) for name, text in found if "..." not in text]


def test_the_page_of_all_names_shows_as_many_signatures_as_expected():
    assert len(signatures()) > 20


@pytest.mark.parametrize(("name", "written"), signatures())
def test_the_page_of_all_names_shows_arguments_and_defaults_as_they_are(name, written):
    (shown,) = ast.parse(f"def f({written}): pass").body
    positional, keyword = shown.args.args, shown.args.kwonlyargs
    defaults = [None] * (len(positional) - len(shown.args.defaults)) + shown.args.defaults
    expected = {
        one.arg: inspect.Parameter.empty if default is None else ast.literal_eval(default)
        for one, default in zip(
            [*positional, *keyword], [*defaults, *shown.args.kw_defaults], strict=True
        )
    }
    parameters = inspect.signature(operator.attrgetter(name)(ks)).parameters.values()
    found = {one.name: one.default for one in parameters if one.kind != one.VAR_KEYWORD}
    assert list(found.items()) == list(expected.items())


def test_every_public_name_has_its_docstring_on_a_page():
    assert build_site.public_names() == ks.__all__
    found = re.findall(
        r"^      heading: ks\.(\S+)$", "\n".join(build_site.reference().values()), re.M
    )
    assert len(found) == len(set(found))
    assert set(ks.__all__) - set(found) == build_site.MODULES
    for name in found:
        value = ks
        for part in name.split("."):
            value = getattr(value, part)
        assert value.__doc__, name


def test_the_messages_of_the_troubleshooting_page_are_raised_somewhere():
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    messages = re.findall(r"^\*\*(`+)(.+?)\1\*\*", page, re.M)
    sources = "\n".join(path.read_text() for path in (ROOT / "keras_sparse").rglob("*.py"))
    joined = re.sub(r"[\"']\n\s*f?[\"']", "", sources)
    assert len(messages) > 10
    assert [message for _, message in messages if message not in joined] == []


ADDRESS = "https://github.com/someone/keras_sparse"


@pytest.mark.parametrize("settings", ["", f"repo_url: {ADDRESS}\n"])
def test_each_tutorial_is_a_notebook_that_installs_and_then_has_its_code(tmp_path, settings):
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("jupytext")
    build_site.gather(tmp_path)
    notebooks.add_notebooks(tmp_path, settings)
    folder = tmp_path / "docs" / "tutorials"
    assert len(list(folder.glob("*.md"))) == len(list(folder.glob("*.ipynb"))) >= 8
    for page in folder.glob("*.md"):
        found = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
        nbformat.validate(found)
        install, *code = [cell.source for cell in found.cells if cell.cell_type == "code"]
        assert "%pip install" in install
        assert (f"git+{ADDRESS}" in install) == bool(settings)
        assert ("sys.executable" in install) == any(cell.startswith("%%bash") for cell in code)
        expected = [
            "%%bash\n" * (language == "bash") + text.strip()
            for language, text in pages.code_of(f"docs/tutorials/{page.name}")
        ]
        assert code == expected
        last = page.read_text().splitlines()[-1]
        assert f"[This page as a notebook]({page.stem}.ipynb)" in last
        assert ("colab.research.google.com" in last) == bool(settings)


def test_colab_opens_the_branch_of_the_site_where_the_project_has_an_address():
    path = "docs/tutorials/fit.ipynb"
    link = "https://colab.research.google.com/github/someone/keras_sparse/blob/gh-pages/" + path
    assert notebooks.colab_link(f"repo_url: {ADDRESS}\n", path) == link
    assert notebooks.colab_link(f'repo_url: "{ADDRESS}.git"\nremote_branch: site', path) == (
        link.replace("gh-pages", "site")
    )
    assert notebooks.colab_link("repo_url: https://gitlab.com/someone/keras_sparse", path) is None
    assert notebooks.colab_link("site_name: keras_sparse", path) is None
