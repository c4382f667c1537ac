"""Every Python example in the README and in docs/ runs, in the order in which it is printed."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets

ROOT = Path(__file__).resolve().parents[1]
CONTINUE_THE_GUIDE = ("speed", "saving", "serving", "watching", "from_tfmot")
SETUP = {f"docs/{page}.md": "docs/guide.md" for page in CONTINUE_THE_GUIDE}
TUTORIALS = (ROOT / "docs" / "tutorials").glob("*.md")
NOT_RUN_HERE = {
    **{f"docs/tutorials/{path.name}": "test_tutorials.py" for path in TUTORIALS},
    "docs/distribution.md": "test_multi_worker.py runs it on several workers",
    "docs/tpu.md": "needs a TPU",
}


def examples_of(page):
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def run(examples, names):
    for number, example in enumerate(examples):
        path = Path(f"example_{number}.py").resolve()  # tf.function reads the source from a file
        path.write_text(example)
        exec(compile(example, path, "exec"), names)


@pytest.fixture
def small_data(monkeypatch, tmp_path):
    """Data of the right shapes in place of downloads, and a folder for the examples' files."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6000, 28, 28), np.uint8)
    mnist = (images, rng.integers(0, 10, 6000)), None
    digits = sklearn.datasets.load_digits()
    digits.images, digits.target = digits.images[:160], digits.target[:160]
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: mnist)
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda: digits)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", ["docs/guide.md", *SETUP])
def test_the_examples_of_the_guide_run(page, small_data):
    names = {}
    if page in SETUP:
        run(examples_of(SETUP[page])[:1], names)
    run(examples_of(page), names)


def test_the_examples_of_the_readme_run_and_those_that_continue_it(small_data):
    pytest.importorskip("tensorflow_model_optimization")
    names = {}
    run(examples_of("README.md"), names)
    names["model"] = names["network"]()
    run(examples_of("docs/choosing.md"), names)


@pytest.mark.parametrize("page", ["docs/api.md", "docs/gpu.md"])
def test_the_examples_of_a_page_by_itself_run(page, small_data):
    run(examples_of(page), {})


def test_every_page_with_examples_is_run():
    found = (ROOT / "docs").rglob("*.md")
    pages = {"README.md", *(str(path.relative_to(ROOT)) for path in found)}
    run_here = {"README.md", "docs/guide.md", *SETUP, "docs/choosing.md", "docs/api.md"}
    run_here |= {"docs/gpu.md", *NOT_RUN_HERE}
    assert {page for page in pages if examples_of(page)} == run_here
