"""``ks.report`` shows the densities over a training."""

import re

import keras
import pytest
from report_pages import Page, titles, trained_model

import keras_sparse as ks
from keras_sparse.reporting import charts


@pytest.fixture(scope="module")
def trained():
    return trained_model()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.html"


def test_the_callback_gives_a_line_for_each_layer_and_their_total(trained, path):
    _, callback, _ = trained
    page = Page(ks.report(callback, path))
    history = callback.history
    lines = titles(page)
    for name in ("hidden/kernel", "head/kernel"):
        values = history[f"toy/{name}"]
        assert lines[name] == (f"{values[0]:.4f}", f"{values[-1]:.4f}")
    assert lines["all masked weights"] == ("0.2500", "0.2500")
    rate = history["exploration_rate"]
    assert lines["ever active, all layers"] == (f"{rate[0]:.4f}", f"{rate[-1]:.4f}")
    assert [text for _, text in page.all("span")].count("12") == 1  # the last optimizer step


def test_the_result_of_fit_gives_the_total_and_says_how_to_get_layers(trained, path):
    model, _, logged = trained
    history = keras.callbacks.History()
    history.set_model(model)
    history.history = {k: v for k, v in logged.history.items() if "/" not in k}
    page = Page(ks.report(history, path))
    assert set(titles(page)) == {"all masked weights", "ever active, all layers"}
    assert "log_layers=True" in page.text
    assert "hidden/kernel" in page.rows()


def test_the_result_of_fit_gives_each_layer_if_that_was_logged(trained, path):
    _, _, history = trained
    page = Page(ks.report(history, path))
    assert {"hidden/kernel", "head/kernel", "all masked weights"} <= set(titles(page))
    assert "log_layers=True" not in page.text


def test_a_model_and_a_history_from_elsewhere(trained, path):
    model, callback, _ = trained
    page = Page(ks.report(model, path, history=dict(callback.history)))
    assert "hidden/kernel" in titles(page)


def test_a_history_alone_shows_the_training_alone(path):
    page = Page(ks.report({"step": [4, 8], "a/kernel": [0.1, 0.0]}, path))
    assert titles(page) == {"a/kernel": ("0.1000", "0.0000")}
    assert "no model" in page.text
    assert not page.all("table")
    assert not page.all("article")


def test_zero_is_below_the_powers_of_ten():
    axis = charts._Axis([1.0, 0.03, 0.0])
    assert axis.ticks == pytest.approx([0, 0.01, 0.1, 1])
    assert [axis.at(value) for value in (1, 0.1, 0.01, 0)] == pytest.approx([0, 400, 800, 1000])
    assert charts._Axis([0.25]).ticks == pytest.approx([0.1, 1])


def test_one_epoch_is_a_dot_and_many_layers_have_a_short_legend(path):
    lines = {f"layer_{i}/kernel": [0.1] for i in range(30)}
    page = Page(ks.report({"step": [4], **lines}, path))
    assert re.search(r'd="M0.0,1000.0h0.1"', page.source)
    (_, legend) = page.all("figcaption")[0]
    assert legend == "layer_0/kernelto, through 28 others,layer_29/kernel"
