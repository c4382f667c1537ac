"""The documentation site has every page and every public name; its messages are those we raise.

`make docs` builds it, and checks links and anchors.
"""

import re
import sys
from pathlib import Path

import pages
import pytest

import keras_sparse as ks

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
