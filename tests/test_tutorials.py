"""Every tutorial runs as printed, and ends with the accuracy of a network that has learned."""

import re

import pytest
from test_docs import ROOT, examples_of, run

LEAST = {"fit": 0.95, "custom_loop": 0.85, "fine_tuning": 0.8, "export": 0.9}
PAGES = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs/tutorials").glob("*.md"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs_and_ends_with_a_good_accuracy(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(examples_of(page), {})
    accuracy = re.findall(r"\b0\.\d{3}\b", capsys.readouterr().out)[-1]
    assert float(accuracy) > LEAST[page.rpartition("/")[2].removesuffix(".md")]
