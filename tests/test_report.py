"""``ks.report`` writes one valid HTML page with the figures of ``ks.summary``."""

import re

import keras
import numpy as np
import pytest
from helpers import toy_model
from oracle import needs_ops
from report_pages import Page, trained_model

import keras_sparse as ks
from keras_sparse.models import layer_speed, step_speed
from keras_sparse.models.step_parts import StepParts
from keras_sparse.models.summary_table import cell
from keras_sparse.reporting.content import Content
from keras_sparse.reporting.speed import speed_section
from keras_sparse.reporting.table import NUMBERS


@pytest.fixture(scope="module")
def trained():
    return trained_model()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


@pytest.mark.backend
def test_the_page_has_every_layer_with_the_figures_of_summary(trained, path):
    model, callback, _ = trained
    page = Page(ks.report(callback, path))
    described, rows = ks.summary(model, "dict"), page.rows()
    total = described["total"]
    assert [row["weight"] for row in described["layers"]] == [
        "toy/hidden/kernel",
        "toy/head/kernel",
    ]
    for row in described["layers"]:
        name = row["weight"].removeprefix("toy/")
        expected = {header: cell(row[key]) for header, key in NUMBERS.items()}
        expected |= {"shape": "x".join(map(str, row["shape"])), "runs as": row["runs_as"]}
        assert rows[name] == expected
        assert any(name in text for _, text in page.all("article"))
        assert page.all("img", alt=f"Mask of {name}")
    assert rows["total"] == {header: cell(total[key]) for header, key in NUMBERS.items()}
    assert f"{total['active']:,} of {total['weights']:,} masked weights are active" in page.text


@pytest.mark.backend
def test_the_page_makes_no_request_and_runs_no_script(trained, path):
    _, callback, _ = trained
    page = Page(ks.report(callback, path))
    for tag, attributes, _ in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "data", "poster", "srcset"):
                assert value.startswith(("data:image/png;base64,", "#weight-"))
    assert not re.search(r"https?:|url\(|@import|//\w", page.source)
    ((policy, _),) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")


def test_names_are_escaped(path):
    name = "<b>&amp;\"two\"'one'"
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name=name)], name="<i>&")
    page = Page(ks.report(model, path))
    assert ("b" in {tag for tag, _, _ in page.tags}) == ("<b>" in page.source)
    assert page.all("b") == [({}, "<i>&")]  # of the heading
    assert page.all("title")[0][1] == "Sparsity of <i>&"
    assert f"{name}/kernel" in page.rows()
    assert page.all("img", alt=f"Mask of {name}/kernel")


def test_ids_and_links_belong_together(path):
    page = Page(ks.report(toy_model(), path))
    ids = [attributes["id"] for _, attributes, _ in page.tags if "id" in attributes]
    links = [attributes["href"] for attributes, _ in page.all("a")]
    assert links == [f"#{each}" for each in ids] == ["#weight-0", "#weight-1"]


def test_a_model_that_cannot_be_traced_and_one_without_kernels(path):
    class Lengths(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x, y):
            return self.dense(x) + y

    model = Lengths()
    model(np.ones((1, 3)), np.ones((1, 2)))
    page = Page(ks.report(model, path))
    assert "Multiply-adds are unknown: the model's `call` takes several arguments." in page.text
    assert "multiply-adds, dense" not in next(iter(page.rows().values()))
    normalization = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization()])
    assert not Page(ks.report(normalization, path)).all("article")


# --- measured


@needs_ops
def test_measure_times_the_step_and_each_layer_at_the_batch(path, monkeypatch):
    for module in (step_speed, layer_speed):
        monkeypatch.setattr(module, "TURNS", 1)
        monkeypatch.setattr(module, "MIN_SECONDS_OF_TURN", 0.0)
    model = ks.sparsify(keras.Sequential([keras.Input((32,)), keras.layers.Dense(64, name="one")]))
    before = [np.array(keras.ops.convert_to_numpy(each)) for each in model.weights]
    page = Page(ks.report(model, path, batch=8, measure=True))
    assert "A training step at batch 8 takes" in page.text
    row = page.rows()["one"]
    assert re.fullmatch(r"[\d.]+ ms", row["Keras' layer"])
    assert re.fullmatch(r"[\d.]+ ms", row["custom op"])
    assert re.fullmatch(r"[\d.]+x", row["speed-up"])
    assert "computes the layer at batch 8 and at the present density" in page.text
    assert "Where the time of a step goes" in page.text
    for part in ("forward pass and loss", "in addition, growth window open"):
        assert re.fullmatch(r"[\d.e-]+ ms", page.rows()[part]["time"])
        assert re.fullmatch(r"\d+%", page.rows()[part]["share"])
    for one, other in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, keras.ops.convert_to_numpy(other))


@pytest.mark.parametrize("backward", [0.002, None])
def test_the_parts_of_a_step_and_their_shares_of_it(backward):
    parts = StepParts(forward=0.001, backward=backward, optimizer=0.003, window=0.006)
    total = {"step_seconds_dense": 0.01, "step_speed_up_closed": 2.0, "step_speed_up_open": 1.0}
    content = Content("net", total={**total, "step_parts": parts}, batch=8)
    (section,) = speed_section(content)
    rows = [["".join(cell.itertext()) for cell in row] for row in section.iter("tr")][1:]
    if backward is None:
        joined = "backward pass, optimizer and masks"
        expected = [("forward pass and loss", "1 ms", "25%"), (joined, "3 ms", "75%")]
    else:
        expected = [("forward pass and loss", "1 ms", "17%"), ("backward pass", "2 ms", "33%")]
        expected += [("optimizer and masks", "3 ms", "50%")]
    share = "150%" if backward is None else "100%"
    expected.append(("in addition, growth window open", "6 ms", share))
    assert list(map(tuple, rows)) == expected
    text = "".join(section.itertext())
    assert ("So the two are one row" in text) == (backward is None)


def test_nothing_is_measured_unless_asked(path):
    assert "Measured speed" not in Page(ks.report(toy_model(), path, batch=8)).text


@pytest.mark.backend
@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow measures")
def test_other_backends_measure_nothing(path):
    with pytest.raises(ValueError, match="`measure` must be False on this backend"):
        ks.report(toy_model(), path, batch=8, measure=True)
    assert not path.exists()


# --- errors


@pytest.mark.parametrize("given", ["model.keras", 3, None, keras.callbacks.CSVLogger("a")])
def test_something_else_is_told(given, path):
    with pytest.raises(TypeError, match="`model_or_history` must be a Keras model.*Received"):
        ks.report(given, path)


def test_arguments_that_do_not_fit(path, tmp_path):
    model, history = toy_model(), keras.callbacks.History()
    history.history = {"loss": [1.0]}
    wrong = [
        ((history,), {}, "`history` must hold a density"),
        ((ks.UpdateMasks(),), {}, "`history` must hold a density"),
        (({"density": [0.1]},), {"batch": 8}, "there is none. Received: measure=False, batch=8"),
        (({"density": [0.1]},), {"history": {}}, "`history` must be None"),
        ((model,), {"measure": True}, "`batch` must be set if `measure` is. Received: batch=None"),
        ((model,), {"batch": 0}, "`batch` must be a positive integer. Received: batch=0"),
        ((keras.Sequential([keras.layers.Dense(2)]),), {}, "`model` must have weights"),
    ]
    for arguments, settings, message in wrong:
        with pytest.raises(ValueError, match=re.escape(message)):
            ks.report(*arguments, path, **settings)
    assert not path.exists()
    with pytest.raises(TypeError, match="`history` must be the UpdateMasks callback"):
        ks.report(model, path, history=3)


def test_paths_that_no_report_is_written_to(tmp_path):
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "mine.html").write_text("<!DOCTYPE html><title>not a report</title>")
    wrong = {
        "report": "must end in",
        "report.png": "must end in",
        "none/report.html": "must be in a folder that exists",
        "folder.html": "must be free, or an earlier report",
        "mine.html": "must be free, or an earlier report",
    }
    for name, message in wrong.items():
        with pytest.raises(ValueError, match=f"`path` {message}.*Received: path='"):
            ks.report(toy_model(), tmp_path / name)
    with pytest.raises(ValueError, match="must be in a folder that exists"):
        ks.report(toy_model(), "gs://bucket/report.html")
    assert (tmp_path / "mine.html").read_text().endswith("not a report</title>")


def test_a_report_that_cannot_be_written_is_not_made(path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("keras_sparse.reporting.report.of_model", None)
    monkeypatch.setattr(type(path), "touch", refuse)
    with pytest.raises(PermissionError):
        ks.report(toy_model(), path)


def test_an_earlier_report_is_replaced(path):
    assert ks.report(toy_model(), path) == path
    model = toy_model()
    ks.prune(model, 0.25)
    ks.report(model, str(path))
    assert Page(path).rows()["total"]["density"] == "0.2500"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
