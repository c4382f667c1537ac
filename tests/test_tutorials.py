"""Every tutorial runs as printed, and ends with the accuracy of a network that has learned."""

import re

import pages
import pytest

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
PAGES = sorted(path.stem for path in (pages.ROOT / "docs/tutorials").glob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_runs_and_ends_with_a_good_accuracy(page, tmp_path):
    ended = pages.ended(f"docs/tutorials/{page}.md", tmp_path)
    assert ended.returncode == 0, ended.stderr[-3000:]
    accuracy = re.findall(r"\b0\.\d{3}\b", ended.stdout)[-1]
    assert float(accuracy) > LEAST[page], ended.stdout
