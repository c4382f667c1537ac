"""A plot of what the callback saw."""

import sys

import pytest
from helpers import compiled, fit, sgd

import keras_sparse as ks

HISTORY = {"step": [4, 8], "a/kernel": [0.1, 0.2], "b/kernel": [0.3, 0.2]}


def test_a_plot_of_a_training(tmp_path):
    pytest.importorskip("matplotlib")
    callback = ks.UpdateMasks()
    fit(compiled(), callback)
    path = ks.plot_history(callback, tmp_path / "density.png")
    assert path == tmp_path / "density.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_each_weight_is_a_line(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    figure, axes = ks.models.plots._figure()
    monkeypatch.setattr(ks.models.plots, "_figure", lambda: (figure, axes))
    ks.plot_history(HISTORY, str(tmp_path / "density.png"))
    drawn = [
        (line.get_label(), list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
    ]
    assert drawn == [("a/kernel", [4, 8], [0.1, 0.2]), ("b/kernel", [4, 8], [0.3, 0.2])]


def test_a_plot_has_the_name_that_was_asked_for(tmp_path):
    pytest.importorskip("matplotlib")
    for name, begin in (("plot", b"\x89PNG"), ("plot.v2.PNG", b"\x89PNG"), ("plot.svg", b"<?xml")):
        assert ks.plot_history(HISTORY, tmp_path / name).read_bytes().startswith(begin)
    assert {path.name for path in tmp_path.iterdir()} == {"plot", "plot.v2.PNG", "plot.svg"}


@pytest.mark.parametrize(
    ("number", "names", "title"),
    [
        (12, [f"layer_{i}/kernel" for i in range(12)], ""),
        (13, ["layer_0/kernel", "layer_12/kernel"], "the first and the last of 13 layers"),
    ],
)
def test_a_legend_of_many_layers_names_the_first_and_the_last(number, names, title, monkeypatch):
    pytest.importorskip("matplotlib")
    figure, axes = ks.models.plots._figure()
    monkeypatch.setattr(ks.models.plots, "_figure", lambda: (figure, axes))
    layers = {f"layer_{i}/kernel": [0.1] for i in range(number)}
    ks.plot_history({"step": [4], "exploration_rate": [0.2], **layers}, "/dev/null")
    legend = axes.get_legend()
    found = [text.get_text() for text in legend.get_texts()]
    assert found == [*names, "ever active, all layers"]
    assert legend.get_title().get_text() == title
    assert len(axes.lines) == number + 1


def drawn_by(history, monkeypatch):
    """{name: (where, densities)} of the lines."""
    pytest.importorskip("matplotlib")
    figure, axes = ks.models.plots._figure()
    monkeypatch.setattr(ks.models.plots, "_figure", lambda: (figure, axes))
    ks.plot_history(history, "/dev/null")
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
    }


@pytest.mark.parametrize("as_dict", [False, True])
def test_what_fit_returns_has_the_total_density(monkeypatch, as_dict):
    callback = ks.UpdateMasks("epoch")
    history = fit(compiled(), callback, epochs=2)
    drawn = drawn_by(history.history if as_dict else history, monkeypatch)
    explored = drawn.pop("ever active, all layers")
    assert drawn == {"all masked weights": ([1, 2], [0.25, 0.25])}
    assert explored == ([1, 2], callback.history["exploration_rate"])


def test_what_fit_returns_has_each_layer_if_that_was_logged(monkeypatch):
    callback = ks.UpdateMasks("epoch", log_layers=True)
    drawn = drawn_by(fit(compiled(), callback, epochs=2), monkeypatch)
    expected = {name: values for name, values in callback.history.items() if name != "step"}
    expected["ever active, all layers"] = expected.pop("exploration_rate")
    assert {name: values for name, (_, values) in drawn.items()} == expected


@pytest.mark.parametrize("history", [{}, {"step": []}, {"loss": [1.0]}, ks.UpdateMasks()])
def test_nothing_to_draw(history):
    with pytest.raises(
        ValueError, match="`history` must hold a density: train with the UpdateMasks callback"
    ):
        ks.plot_history(history)


def test_a_training_without_the_callback_has_nothing_to_draw():
    with pytest.raises(ValueError, match="`history` must hold a density.*with .'loss'."):
        ks.plot_history(fit(compiled(sgd()), epochs=1))


def test_something_else_is_told():
    with pytest.raises(
        TypeError, match="`history` must be the UpdateMasks callback.*Received: history=3"
    ):
        ks.plot_history(3)


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="needs matplotlib: pip install matplotlib"):
        ks.plot_history(HISTORY)
