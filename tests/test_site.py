"""The documentation site has every page and every public name; its messages are those we raise.

`make docs` builds it, and checks links and anchors.
"""

import re
import sys
from pathlib import Path

import keras_sparse as ks

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "docs"))
import build_site  # noqa: E402

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
