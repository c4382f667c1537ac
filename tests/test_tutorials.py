"""Every tutorial runs as a notebook, in a Jupyter kernel, to a network that has learned."""

import re
import sys

import pages
import pytest
from kernels import printed_by

sys.path.insert(0, str(pages.ROOT / "docs"))
from notebooks import notebook_of

LEAST = {
    "fit": 0.95,
    "custom_loop": 0.85,
    "fine_tuning": 0.8,
    "export": 0.9,
    "several_devices": 0.85,
    "tpu": 0.85,
    "gpu": 0.85,
    "serving": 0.8,
}
FOLDER = pages.ROOT / "docs" / "tutorials"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs_as_a_notebook_and_ends_with_a_good_accuracy(page, tmp_path):
    for name in ("ipykernel", "jupytext"):
        pytest.importorskip(name)
    notebook = notebook_of((FOLDER / f"{page}.md").read_text(), address=None)
    printed = printed_by(notebook, tmp_path)
    accuracy = re.findall(r"\b0\.\d{3}\b", printed)[-1]
    assert float(accuracy) > LEAST[page], printed
